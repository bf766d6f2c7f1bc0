import type { JetStreamManager } from '@nats-io/jetstream';
import type { StoredValue } from './snapshot-store.ts';

/** Any replica may answer at once; what it does not have, or has in an older state, the stream's leader is asked for. */
export async function getValue(
  manager: JetStreamManager,
  { name, stream }: { readonly name: string; readonly stream: string },
  key: string,
): Promise<StoredValue | undefined> {
  const query = { last_by_subj: `$KV.${name}.${key}` };
  const isFixed = key.startsWith('snap.'); // written once, so whoever has it has the only one
  const direct = isFixed ? await manager.direct.getMessage(stream, query) : null;
  const found = direct ?? (await manager.streams.getMessage(stream, query));
  return found === null ? undefined : { bytes: found.data, revision: found.seq };
}
