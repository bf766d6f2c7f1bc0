import { type StreamFacts, tryWrite } from '@mesobus/registry/operations';
import { DeadlineError, NoRespondersError, RefusedError } from '@mesobus/sdk/errors';
import type { Patient } from './examine.ts';

/** Whose work the connection is to be fit for. */
export const roles = ['operator', 'registry', 'master'] as const;
export type Role = (typeof roles)[number];

/** Something that a role must be allowed to do. */
export interface Permission {
  readonly what: string;
  /** Why it is not; empty if it is. */
  readonly refused: string;
  readonly mend: string;
}

const timeoutMs = 2_000;

/** Tries what the role needs on this connection, in ways that change nothing. */
export async function tryPermissions(
  { bus, subjects, principal, role, mayAsk }: Patient,
  streams: readonly StreamFacts[],
): Promise<Permission[]> {
  const [registries, leader] = [subjects.registryQuery.of(principal), subjects.masterQuery.of(principal)];
  const hearsAnswers = streams.some(({ unreadable }) => unreadable === ''); // JetStream's have come to our inbox
  const asking = (): Promise<Permission>[] => [
    permit(`ask registries ('${registries.subject}')`, () =>
      reach(() => bus.request(registries, { getStatus: {} }, { timeoutMs }), hearsAnswers),
    ),
    permit(`ask the leader ('${leader.subject}')`, () =>
      reach(() => bus.request(leader, { getConnections: {} }, { timeoutMs }), hearsAnswers),
    ),
  ];
  const tries = mayAsk ? asking() : [];
  const buckets = { operator: [], registry: [subjects.snapshotBucket], master: [subjects.logBucket] }[role];
  const standing = new Set(streams.filter(({ exists }) => exists).map(({ stream }) => stream));
  for (const bucket of buckets.filter((name) => standing.has(`KV_${name}`))) {
    tries.push(permit(`write to the bucket '${bucket}' ('$KV.${bucket}.*')`, () => tryWrite(bus.connection, bucket)));
  }
  return Promise.all(tries);
}

async function permit(what: string, attempt: () => Promise<void>): Promise<Permission> {
  const mend = 'let this user publish there and subscribe to its inbox: `mesobus auth add` makes credentials that do';
  try {
    await attempt();
    return { what, refused: '', mend };
  } catch (error) {
    return { what, refused: (error as Error).message, mend };
  }
}

/** Nothing is wrong with the permission where nobody is there, or whoever is has no time, or hangs. */
async function reach(ask: () => Promise<unknown>, hearsAnswers: boolean): Promise<void> {
  try {
    await ask();
  } catch (error) {
    const isThere = error instanceof NoRespondersError || (error instanceof RefusedError && error.transient);
    if (!isThere && !(hearsAnswers && error instanceof DeadlineError)) throw error;
  }
}
