import { headers, type NatsConnection } from '@nats-io/transport-node';

const timeoutMs = 2_000;
/** No bucket has come so far: whoever may write is refused for it, and nothing is written. */
const impossibleSequence = String(Number.MAX_SAFE_INTEGER);

/**
 * Tries whether this connection may write to a bucket, without writing.
 *
 * @throws {Error} it may not, or nobody answers
 */
export async function tryWrite(connection: NatsConnection, bucket: string): Promise<void> {
  const conditions = headers();
  conditions.set('Nats-Expected-Last-Sequence', impossibleSequence);
  const answer = await connection.request(`$KV.${bucket}.doctor`, '', { timeout: timeoutMs, headers: conditions });
  const { error } = answer.json<{ error?: { err_code?: number } }>();
  if (error === undefined) throw new Error(`JetStream took what it had to refuse: ${answer.string()}`);
}
