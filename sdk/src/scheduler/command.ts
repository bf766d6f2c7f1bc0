import { mesos } from '@mesobus/protos';

/** A file that is fetched into the sandbox before the task starts. */
export interface Uri {
  readonly value: string;
  readonly executable?: boolean;
  /** Unpack an archive; default true. */
  readonly extract?: boolean;
  readonly cache?: boolean;
  readonly outputFile?: string;
}

/** What a task runs: a line for the shell, or a program with its arguments and no shell in between. */
export type Command =
  | string
  | ({ readonly shell: string } & CommandSettings)
  | ({ readonly argv: readonly [string, ...string[]] } & CommandSettings);

/** A secret that the agent knows by this name: only the name travels. */
export interface SecretReference {
  readonly secret: string;
  /** Of several that have the name. */
  readonly key?: string;
}

/** Values of variables, or the secrets that have them. */
export type Environment = Readonly<Record<string, string | SecretReference>>;

interface CommandSettings {
  readonly env?: Environment;
  /** The user of the agent's machine that it runs as; default: the framework's. */
  readonly user?: string;
  readonly uris?: readonly (string | Uri)[];
}

/** @param more - environment, added to that of the command */
export function commandInfoOf(command: Command, more?: Environment): mesos.v1.CommandInfo.$Properties {
  const settings = typeof command === 'string' ? { shell: command } : command;
  const env = Object.entries({ ...settings.env, ...more });
  const what =
    'argv' in settings
      ? { shell: false, value: settings.argv[0], arguments: [...settings.argv] }
      : { shell: true, value: settings.shell };
  return {
    ...what,
    ...(env.length > 0 && { environment: { variables: env.map(([name, value]) => variableOf(name, value)) } }),
    ...(settings.user !== undefined && { user: settings.user }),
    ...(settings.uris !== undefined && {
      uris: settings.uris.map((uri) => (typeof uri === 'string' ? { value: uri } : uri)),
    }),
  };
}

function variableOf(name: string, value: string | SecretReference): mesos.v1.Environment.Variable.$Properties {
  if (typeof value === 'string') return { name, value };
  return { name, type: mesos.v1.Environment.Variable.Type.SECRET, secret: secretOf(value) };
}

/** As the messages have it, for volumes with a source of type SECRET too. */
export function secretOf({ secret: name, key }: SecretReference): mesos.v1.Secret.$Properties {
  return { type: mesos.v1.Secret.Type.REFERENCE, reference: { name, ...(key !== undefined && { key }) } };
}

export function labelsOf(labels: Readonly<Record<string, string>>): mesos.v1.Labels.$Properties {
  return { labels: Object.entries(labels).map(([key, value]) => ({ key, value })) };
}

/** @param ms - may be a fraction */
export function durationOf(ms: number): mesos.v1.DurationInfo.$Properties {
  return { nanoseconds: BigInt(Math.round(ms * 1_000_000)) };
}
