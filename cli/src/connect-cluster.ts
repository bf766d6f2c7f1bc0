import path from 'node:path';
import { connectNats, type NatsBus, principalWith, type Subjects, subjectsOf } from '@mesobus/sdk/bus';
import { type ClusterContext, findContext } from '@mesobus/sdk/operator';
import { CommandError } from './command-error.ts';
import { readLocalContext } from './local-cluster/context-file.ts';

/** The flags that say which cluster is meant. */
export interface ConnectionFlags {
  readonly nats?: string | undefined;
  readonly token?: string | undefined;
  readonly natsCreds?: string | undefined;
  readonly natsTlsCa?: string | undefined;
  readonly natsTlsCert?: string | undefined;
  readonly natsTlsKey?: string | undefined;
  readonly cluster?: string | undefined;
  /** A context file that `mesobus up` has written. */
  readonly context?: string | undefined;
}

/** An open connection to one cluster. */
export interface ClusterConnection extends AsyncDisposable {
  readonly bus: NatsBus;
  readonly subjects: Subjects;
  readonly cluster: string;
  /** Whose name we speak under. */
  readonly principal: string;
}

/** What the services take too. */
export const clusterNames: { readonly pattern: RegExp; readonly expected: string } = {
  pattern: /^[A-Za-z0-9_-]{1,64}$/,
  expected: 'up to 64 letters, digits, - and _',
};

/** Whoever waits at a terminal does not wait longer than this for a server that is not there. */
const connectWaitMs = 3000;

/**
 * Connects to the cluster that the flags name, else the environment, else the nearest context file.
 *
 * @throws {NoContextError} no cluster was named and none was found
 * @throws {CommandError} the context file of `--context` cannot be read, or no cluster can have this name
 * @throws {DisconnectedError} no NATS server could be reached, or the credentials are those of another cluster
 */
export async function connectCluster(flags: ConnectionFlags): Promise<ClusterConnection> {
  const { nats, cluster, from, ...security } = whereTo(flags, process.env);
  if (!clusterNames.pattern.test(cluster)) {
    throw new CommandError(`Cannot use the cluster '${cluster}' from ${from}: expected ${clusterNames.expected}`);
  }
  const principal = principalWith(security.credsFile, cluster, undefined);
  const bus = await connectNats({ servers: nats, name: 'mesobus', maxWait: connectWaitMs, ...security });
  return {
    bus,
    cluster,
    subjects: subjectsOf(cluster),
    principal,
    [Symbol.asyncDispose]: () => bus.close(),
  };
}

/** Which cluster is meant, and how to reach it. */
export function whereTo(
  flags: ConnectionFlags,
  env: Readonly<Record<string, string | undefined>>,
  directory: string = process.cwd(),
): ClusterContext {
  const named = flags.nats === undefined ? {} : { MESOBUS_NATS: flags.nats };
  const found =
    flags.context === undefined || flags.nats !== undefined
      ? findContext({ env: { ...env, ...named }, directory })
      : fromFile(path.resolve(directory, flags.context));
  return {
    ...found,
    ...(flags.token !== undefined && { token: flags.token }),
    ...(flags.natsCreds !== undefined && { credsFile: flags.natsCreds }),
    ...(flags.natsTlsCa !== undefined && { tlsCaFile: flags.natsTlsCa }),
    ...(flags.natsTlsCert !== undefined && { tlsCertFile: flags.natsTlsCert }),
    ...(flags.natsTlsKey !== undefined && { tlsKeyFile: flags.natsTlsKey }),
    ...(flags.cluster !== undefined && { cluster: flags.cluster }),
  };
}

function fromFile(file: string): ClusterContext {
  const context = readLocalContext(file);
  if (context === undefined) {
    throw new CommandError(
      `Cannot use the context '${file}': it is not there or not of 'mesobus up'; correct --context`,
    );
  }
  return { nats: context.nats.split(','), token: context.token, cluster: context.cluster, from: file };
}
