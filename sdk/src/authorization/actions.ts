/** What is decided about, under Mesos' names, and what its objects are called. The last three are Mesobus' own. */
const decided = {
  register_frameworks: 'roles',
  run_tasks: 'users',
  teardown_frameworks: 'framework_principals',
  reserve_resources: 'roles',
  unreserve_resources: 'reserver_principals',
  create_volumes: 'roles',
  destroy_volumes: 'creator_principals',
  resize_volumes: 'roles',
  update_weights: 'roles',
  get_quotas: 'roles',
  update_quotas: 'roles',
  register_agents: 'agents',
  drain_agents: 'agents',
  deactivate_agents: 'agents',
  reactivate_agents: 'agents',
  mark_agents_gone: 'agents',
  update_maintenance_schedules: 'machines',
  start_maintenances: 'machines',
  stop_maintenances: 'machines',
  get_maintenance_schedules: 'machines',
  get_maintenance_statuses: 'machines',
  view_frameworks: 'users',
  view_containers: 'users',
  access_sandboxes: 'users',
  launch_nested_container_sessions_under_parent_with_user: 'users',
  attach_containers_input: 'users',
  attach_containers_output: 'users',
  kill_tasks: 'framework_principals',
  pause_tasks: 'framework_principals',
  use_secrets: 'secrets',
} as const;

/** Of Mesos, and about nothing that Mesobus does or restricts today. */
const withoutEffect = {
  get_endpoints: 'paths',
  view_tasks: 'users',
  view_executors: 'users',
  view_roles: 'roles',
  view_flags: 'flags',
  view_standalone_containers: 'users',
  view_resource_providers: 'resource_providers',
  access_mesos_logs: 'logs',
  set_log_level: 'level',
  launch_nested_containers_as_user: 'users',
  launch_nested_containers_under_parent_with_user: 'users',
  launch_nested_container_sessions_as_user: 'users',
  wait_nested_containers: 'users',
  kill_nested_containers: 'users',
  remove_nested_containers: 'users',
  launch_standalone_containers: 'users',
  wait_standalone_containers: 'users',
  kill_standalone_containers: 'users',
  remove_standalone_containers: 'users',
  create_block_disks: 'roles',
  destroy_block_disks: 'roles',
  create_mount_disks: 'roles',
  destroy_mount_disks: 'roles',
  destroy_raw_disks: 'roles',
  modify_resource_provider_configs: 'resource_providers',
  prune_images: 'images',
} as const;

/** Something that a principal may be allowed to do. */
export type Action = keyof typeof decided;

export const isAction = (name: string): name is Action => Object.hasOwn(decided, name);

/** What the objects of an action are called; undefined if there is no such action. */
export function objectsOf(name: string): string | undefined {
  if (isAction(name)) return decided[name];
  return Object.hasOwn(withoutEffect, name) ? withoutEffect[name as keyof typeof withoutEffect] : undefined;
}

export const actions: readonly string[] = Object.keys(decided);
