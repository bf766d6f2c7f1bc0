import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describeStatus } from '../../core/index.ts';
import { enter } from '../process/enter.ts';
import { tailOf } from '../tail-of.ts';
import type { User } from '../users.ts';

const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
const maxSaidChars = 1_000;

/** $1: the folder, $2: the name in it, $3: 'x' if it is to be executable. */
const placeScript = `umask 022
root=$(pwd -P) && mkdir -p -- "$1" && cd -P -- "$1" || exit
case $PWD/ in "$root"/*) ;; *) echo "'$1' leads out of the sandbox" >&2; exit 1 ;; esac
rm -f -- "$2" && cat > "$2" || exit
[ "$3" != x ] || chmod a+x -- "$2"`;

/**
 * $1: the archive, $2: its kind. It is unpacked beside everything else first: what an earlier archive has left, such as
 * a link to a folder elsewhere, does not lead it out of the sandbox.
 */
const extractScript = `umask 022
new=.mesobus-extract
rm -rf -- $new && mkdir -m 700 -- $new || exit
case $2 in
  tar) tar -x -o -f "./$1" -C $new ;;
  zip) unzip -q -o -d $new "./$1" ;;
  gz) mkdir -p -- "$new/$(dirname -- "./$1")" && gzip -d -c -- "./$1" > "$new/\${1%.gz}" ;;
esac && cp -R -P -l -f -- $new/. .
status=$?
find $new -type d -exec chmod u+rwx -- {} +
rm -rf -- $new
exit $status`;

export type ArchiveKind = 'tar' | 'zip' | 'gz';

/** A sandbox as its task's own user changes it: nothing is done in it that the task might not do. */
export class Sandbox {
  readonly #dir: string;
  readonly #user: User | undefined;
  readonly #signal: AbortSignal;

  /** @param signal - ends what is being done at any time */
  constructor(dir: string, user: User | undefined, signal: AbortSignal) {
    this.#dir = dir;
    this.#user = user;
    this.#signal = signal;
  }

  /**
   * Makes a file, in place of one that is there.
   *
   * @param path - below the sandbox
   */
  async place(path: string, content: Readable, executable: boolean): Promise<void> {
    await this.#run(
      placeScript,
      [dirname(path), path.slice(path.lastIndexOf('/') + 1), executable ? 'x' : '-'],
      content,
    );
  }

  /** Unpacks an archive that is in the sandbox: into the sandbox, what is only compressed beside itself. */
  async extract(path: string, kind: ArchiveKind): Promise<void> {
    await this.#run(extractScript, [path, kind]);
  }

  /** Opens what is appended to the task's stderr. Once it is closed nothing more is. */
  openNotes(): Notes {
    const writer = enter(this.#command('exec cat >> stderr', []));
    writer.stdin.on('error', () => {}); // what cannot be written is not missed
    writer.stdout.resume();
    writer.stderr.resume();
    return {
      write: (line) => {
        if (writer.stdin.writable) writer.stdin.write(`${line}\n`);
      },
      close: async () => {
        writer.stdin.end();
        await writer.ended;
      },
    };
  }

  async #run(script: string, args: string[], content?: Readable): Promise<void> {
    this.#signal.throwIfAborted();
    const process = enter(this.#command(script, args));
    const said = tailOf(process.stderr, maxSaidChars);
    process.stdout.resume();
    const onAbort = (): void => process.end();
    this.#signal.addEventListener('abort', onAbort);
    try {
      const fed = await feed(process.stdin, content);
      const end = await process.ended;
      this.#signal.throwIfAborted();
      await process.closed; // all that it said has come
      if (end.kind === 'failed') throw new Error(end.message);
      if (end.status !== 0) throw new Error(said() || describeStatus(end.status));
      if (fed !== undefined) throw fed;
    } finally {
      this.#signal.removeEventListener('abort', onAbort);
    }
  }

  #command(script: string, args: string[]): Parameters<typeof enter>[0] {
    return { file: '/bin/sh', argv: ['sh', '-c', script, 'sh', ...args], env, cwd: this.#dir, user: this.#user };
  }
}

/** What a task finds in its stderr from before its start. */
export interface Notes {
  write(line: string): void;
  close(): Promise<void>;
}

/** Says what went wrong: if the reader has ended, that is more to the point. */
async function feed(into: NodeJS.WritableStream, content: Readable | undefined): Promise<unknown> {
  try {
    if (content === undefined) into.end();
    else await pipeline(content, into);
    return undefined;
  } catch (error) {
    return error;
  }
}

/** What a file of the machine holds, as far as the user may read it. */
export function readAs(user: User | undefined, path: string, signal: AbortSignal): Readable {
  const script = 'if [ -d "$1" ]; then echo "it is a folder" >&2; exit 1; fi; exec cat -- "$1"';
  const process = enter({ file: '/bin/sh', argv: ['sh', '-c', script, 'sh', path], env, cwd: '/', user });
  const said = tailOf(process.stderr, maxSaidChars);
  process.stdin.end();
  async function* content(): AsyncGenerator<Buffer> {
    try {
      yield* process.stdout;
      const end = await process.ended;
      await process.closed;
      if (end.kind === 'failed') throw new Error(end.message);
      if (end.status !== 0) throw new Error(said() || describeStatus(end.status));
    } finally {
      process.end();
    }
  }
  signal.addEventListener('abort', () => process.end(), { once: true });
  return Readable.from(content(), { objectMode: false });
}
