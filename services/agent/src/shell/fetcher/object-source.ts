import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { NatsBus } from '@mesobus/sdk/bus';
import { FetchProblem } from './fetch-problem.ts';
import type { Source } from './sources.ts';

/** Chunks under way; each is 128 KB, unless the one who stored them wanted otherwise. */
const maxChunks = 32;
/** A link leads to an object, not to another link. */
const maxLinks = 1;

/**
 * Opens an object of a JetStream object store. Its chunks are asked for as they are taken: the client's own `get` holds
 * in memory what is not taken yet.
 */
export async function openObject(
  connection: NatsBus['connection'],
  bucket: string,
  name: string,
  signal: AbortSignal,
  links = 0,
): Promise<Source> {
  const { Objm } = await import('@nats-io/obj'); // few tasks need it, and it takes memory
  const objects = new Objm(connection);
  const remedy = `see 'nats object ls', or correct the URI`;
  const store = await objects.open(bucket).catch((cause: unknown) => {
    throw new FetchProblem(`there is no object store '${bucket}' (${messageOf(cause)})`, remedy, { cause });
  });
  const info = await store.info(name);
  if (info === null || info.deleted) throw new FetchProblem(`there is no object '${name}' in '${bucket}'`, remedy);
  const { link } = info.options ?? {};
  if (link) {
    if (!link.name || links >= maxLinks) throw new FetchProblem(`'${name}' is a link to no object`, remedy);
    return openObject(connection, link.bucket, link.name, signal, links + 1);
  }
  const { size, nuid, digest } = info;
  if (size === 0) return { stream: Readable.from([]), size };

  const consumer = await objects.js.consumers.get(`OBJ_${bucket}`, { filter_subjects: `$O.${bucket}.C.${nuid}` });
  const messages = await consumer.consume({ max_messages: maxChunks });
  signal.addEventListener('abort', () => messages.stop(), { once: true });
  async function* content(): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256');
    let left = size;
    try {
      for await (const { data } of messages) {
        hash.update(data);
        yield data;
        left -= data.length;
        if (left <= 0) break;
      }
    } finally {
      messages.stop();
      void consumer.delete().catch(() => {}); // the server drops it by itself
    }
    if (left !== 0) throw new FetchProblem('the object has ended early', 'store it again');
    const computed = hash.digest('base64url');
    if (digest.replace(/^SHA-256=/, '').replace(/=+$/, '') !== computed) {
      throw new FetchProblem(`its digest is ${computed} and should be ${digest}: it is damaged`, 'store it again');
    }
  }
  return { stream: Readable.from(content(), { objectMode: false }), size };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
