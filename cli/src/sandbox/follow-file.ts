import { DeadlineError, DisconnectedError, NoRespondersError, RefusedError } from '@mesobus/sdk/errors';
import type { SandboxReader, TaskPlace } from './sandbox-reader.ts';

export interface FollowOptions {
  /** Whether nothing more will be written, as far as the caller knows; asked before each read. */
  readonly hasEnded: () => boolean;
  /** Waits until it makes sense to look again. */
  readonly pause: () => Promise<void>;
  /** How long an agent that does not answer is asked after the end of the task, ms; default 10 s. */
  readonly patienceMs?: number;
}

/** The end of a file could not be read. */
export class OutputLostError extends Error {
  override readonly name = 'OutputLostError';
}

/**
 * A file of a sandbox, as it grows and also when it is rotated, in pieces. It ends when the file has been read to its end after its task has ended:
 * whoever asks for the end first, and then finds no more to read, has everything.
 *
 * @throws {OutputLostError} the agent is away and stays away
 * @throws {RefusedError} the file may not be read
 */
export async function* followFile(
  reader: Pick<SandboxReader, 'read'>,
  task: TaskPlace,
  path: string,
  options: FollowOptions,
): AsyncGenerator<Uint8Array, void> {
  let offset = 0;
  let file = '';
  let awaySince: number | undefined;
  for (;;) {
    const ended = options.hasEnded();
    try {
      const { data, size, offset: from, fileId } = await reader.read(task, path, offset, file);
      awaySince = undefined;
      if (data.length > 0) yield data;
      offset = from + data.length;
      file = fileId;
      if (data.length > 0 && (offset < size || ended)) continue; // behind a rotated file comes the next one
      if (ended) return;
    } catch (error) {
      if (error instanceof RefusedError && error.code === 'path_unknown') {
        if (ended) return;
      } else if (!isAway(error)) throw error;
      else if (ended) {
        awaySince ??= performance.now();
        if (performance.now() - awaySince > (options.patienceMs ?? 10_000)) throw lost(task, path, offset, error);
      }
    }
    await options.pause();
  }
}

const isAway = (error: unknown): error is Error =>
  error instanceof NoRespondersError || error instanceof DeadlineError || error instanceof DisconnectedError;

function lost(task: TaskPlace, path: string, offset: number, cause: Error): OutputLostError {
  const what = `Cannot read ${path} of task ${task.taskId} from byte ${offset} on: its agent ${task.agentId} is away`;
  return new OutputLostError(`${what}; try 'mesobus logs ${task.taskId}' when it is back`, { cause });
}
