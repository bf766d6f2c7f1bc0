import type { Readable } from 'node:stream';
import { type Daemon, messageOf } from './daemon.ts';

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
  try {
    const stream = (await daemon.docker.pull(tagged(image), { abortSignal: signal })) as Readable;
    await follow(stream, onProgress);
  } catch (error) {
    signal.throwIfAborted();
    throw new Error(`cannot pull the image '${image}': ${messageOf(error)}`, { cause: error });
  }
}

async function follow(stream: Readable, onProgress: Pull['onProgress']): Promise<void> {
  const layers = new Map<string, Said>();
  let saidAt = performance.now();
  for await (const said of linesOf(stream)) {
    if (said.error !== undefined) throw new Error(said.error);
    if (said.id !== undefined && said.progressDetail !== undefined) layers.set(said.id, said);
    if (performance.now() - saidAt < progressIntervalMs) continue;
    saidAt = performance.now();
    onProgress(progressOf([...layers.values()]));
  }
}

async function* linesOf(stream: Readable): AsyncGenerator<Said> {
  let rest = '';
  for await (const chunk of stream.setEncoding('utf8')) {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as Said;
  }
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
