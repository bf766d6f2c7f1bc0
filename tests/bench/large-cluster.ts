// The records of a cluster that is as large as the design allows, as a master writes them.
import { type mesobus, mesos } from '@mesobus/protos';
import { parseResources, toWire } from '@mesobus/sdk/resources';

const { TASK_RUNNING } = mesos.v1.TaskState;
const frameworks = 1_000;
const startedMs = 1_750_000_000_000;

export interface ClusterSize {
  readonly agents: number;
  readonly tasks: number;
}

/** Its records: frameworks and agents, then each task launched and running, then the agents' cursors. */
export function* recordsOfCluster({ agents, tasks }: ClusterSize): Generator<mesobus.v1.Record.$Properties> {
  yield { cluster: { clusterIncarnation: 1, nextAgentNumber: agents, nextFrameworkNumber: frameworks } };
  for (let number = 0; number < frameworks; number += 1) yield { framework: frameworkNumbered(number) };
  for (let number = 0; number < agents; number += 1) yield { agent: agentNumbered(number) };
  for (let number = 0; number < tasks; number += 1) {
    const launched = launchNumbered(number, agents);
    yield { taskLaunched: launched };
    yield { taskChanged: runningSince(launched) };
  }
  const perAgent = Math.ceil(tasks / agents);
  for (let number = 0; number < agents; number += 1) {
    yield { commandsApplied: { agentId: agentId(number), cursor: perAgent } };
  }
}

const padded = (number: number): string => String(number).padStart(6, '0');
const agentId = (number: number): string => `8f2c41d7-S${number}`;
const frameworkId = (number: number): string => `8f2c41d7-F${number}`;

function frameworkNumbered(number: number): mesobus.v1.FrameworkRecord.$Properties {
  const info = { user: 'ads', name: `framework-${number}`, roles: [roleNumbered(number)], failoverTimeout: 3600 };
  return { frameworkId: frameworkId(number), principal: `team-${number % 100}`, info, registeredAtMs: startedMs };
}

const roleNumbered = (number: number): string => `role-${number % 50}`;

function agentNumbered(number: number): mesobus.v1.AgentRecord.$Properties {
  const name = `host-${padded(number)}.rack-${number % 400}.example.org`;
  return {
    agentId: agentId(number),
    agentName: name,
    registrationKey: `key-${padded(number)}-4b1d0c6e9a`,
    incarnation: `inc-${padded(number)}`,
    bootId: `boot-${padded(number)}`,
    info: {
      hostname: name,
      port: 5051,
      resources: toWire(parseResources('cpus:64;mem:262144;disk:1048576;ports:[31000-32000]')),
      attributes: [{ name: 'rack', type: mesos.v1.Value.Type.TEXT, text: { value: `rack-${number % 400}` } }],
    },
    version: '0.1.0',
    registeredAtMs: startedMs,
    reregisteredAtMs: startedMs,
  };
}

const sizes = ['cpus:0.5;mem:512', 'cpus:1;mem:2048', 'cpus:2;mem:4096;disk:1024'].map((text) =>
  toWire(parseResources(text)),
);

function launchNumbered(number: number, agents: number): mesobus.v1.TaskLaunched.$Properties {
  const agent = number % agents;
  const framework = number % frameworks;
  const taskId = `web-${padded(number % 5_000)}.${number.toString(36)}`;
  const resources = sizes[number % sizes.length] ?? [];
  return {
    frameworkId: frameworkId(framework),
    agentId: agentId(agent),
    task: {
      name: 'web',
      taskId: { value: taskId },
      agentId: { value: agentId(agent) },
      resources,
      command: { value: `exec /opt/web/bin/serve --port $PORT0 --shard ${number % 64}`, shell: true },
      labels: {
        labels: [
          { key: 'team', value: `team-${framework % 100}` },
          { key: 'release', value: '2025-06-15.3' },
        ],
      },
    },
    resources,
    role: roleNumbered(framework),
    commandNumber: Math.floor(number / agents) + 1,
    callId: `${framework}-${Math.floor(number / 100)}`,
    traceparent: `00-${number.toString(16).padStart(32, '0')}-${number.toString(16).padStart(16, '0')}-01`,
    offeredAtMs: startedMs + number,
    acceptedAtMs: startedMs + number + 20,
  };
}

function runningSince(launched: mesobus.v1.TaskLaunched.$Properties): mesobus.v1.TaskChanged.$Properties {
  const { frameworkId, agentId, task, commandNumber, acceptedAtMs } = launched;
  const taskId = task?.taskId?.value ?? '';
  const uuid = Uint8Array.from({ length: 16 }, (_, at) => (taskId.charCodeAt(at % taskId.length) * (at + 7)) & 255);
  return {
    task: { frameworkId: frameworkId ?? '', taskId },
    commandNumber: commandNumber ?? 0,
    state: TASK_RUNNING,
    status: {
      taskId: { value: taskId },
      state: TASK_RUNNING,
      agentId: { value: agentId ?? '' },
      source: mesos.v1.TaskStatus.Source.SOURCE_EXECUTOR,
      timestamp: (acceptedAtMs ?? 0) / 1000 + 0.08,
      uuid,
      containerStatus: { containerId: { value: `c-${taskId}` } },
    },
    updateNumber: 2,
    acknowledgedNumber: 2,
    changedAtMs: (acceptedAtMs ?? 0) + 80,
  };
}
