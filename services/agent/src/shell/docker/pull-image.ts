import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Daemon } from './daemon.ts';

interface Pull {
  readonly image: string;
  /** Even if it is there. */
  readonly force: boolean;
  readonly signal: AbortSignal;
  /** Called again and again while it takes its time. */
  readonly onProgress: (progress: Progress) => void;
}

export interface Progress {
  readonly layers: number;
  readonly layersDone: number;
  readonly bytes: number;
  readonly totalBytes: number;
}

/** A line of what Docker says while it pulls. */
interface Said {
  readonly id?: string;
  readonly status?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly error?: string;
}

const progressIntervalMs = 5_000;
const doneStates: ReadonlySet<string> = new Set(['Pull complete', 'Already exists']);

/**
 * Sees that an image is there.
 *
 * @throws {Error} it is not, and cannot be pulled
 */
export async function pullImage(daemon: Daemon, { image, force, signal, onProgress }: Pull): Promise<void> {
  const known = await daemon.ask((docker) => docker.getImage(image).inspect());
  if (known !== undefined && !force) return;
  signal.throwIfAborted();
  const failure = (why: string): Error => new Error(`cannot pull the image '${image}': ${why}`);
  const stream = await daemon.docker.pull(tagged(image), { abortSignal: signal }).catch((error: Error) => {
    throw failure(error.message);
  });
  const layers = new Map<string, Said>();
  let saidAt = performance.now();
  for await (const line of createInterface({ input: stream as Readable, signal })) {
    if (line.trim() === '') continue;
    const said = JSON.parse(line) as Said;
    if (said.error !== undefined) throw failure(said.error);
    if (said.id !== undefined && said.progressDetail !== undefined) layers.set(said.id, said);
    if (performance.now() - saidAt < progressIntervalMs) continue;
    saidAt = performance.now();
    onProgress(progressOf([...layers.values()]));
  }
  signal.throwIfAborted();
  // It says so in its stream if it fails, and may also be gone in the middle of it.
  if ((await daemon.ask((docker) => docker.getImage(image).inspect())) === undefined) throw failure('it is not there');
}

/** Without a tag all that there are would be pulled. */
export function tagged(image: string): string {
  const name = image.slice(image.lastIndexOf('/') + 1);
  return name.includes(':') || name.includes('@') ? image : `${image}:latest`;
}

function progressOf(layers: readonly Said[]): Progress {
  const sum = (of: (said: Said) => number | undefined): number =>
    layers.reduce((total, layer) => total + (of(layer) ?? 0), 0);
  return {
    layers: layers.length,
    layersDone: layers.filter(({ status }) => doneStates.has(status ?? '')).length,
    bytes: sum(({ progressDetail }) => progressDetail?.current),
    totalBytes: sum(({ progressDetail }) => progressDetail?.total),
  };
}
