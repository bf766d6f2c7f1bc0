import type { FileEntry, Operator, TaskKey } from '@mesobus/sdk/operator';
import { Command } from 'commander';
import { CommandError } from '../command-error.ts';
import { findTask } from '../find-task.ts';
import { type Streams, writeJson, writeTo } from '../output/streams.ts';
import { type Column, renderTable } from '../output/table.ts';
import { withOperator } from '../with-operator.ts';
import { type ClusterFlags, withConnection, withJson } from './options.ts';

/** `logs` and `files`. */
export function sandboxCommands(streams: Streams): Command[] {
  const logs = new Command('logs')
    .description('print what a task has written')
    .argument('<task>', 'its id, or <framework>/<task>; beginnings will do')
    .option('-f, --follow', 'go on until the task has ended')
    .option('--stderr', 'its standard error instead of its standard output')
    .option('--file <path>', 'another file of its sandbox')
    .action(async (wanted: string, flags: ClusterFlags & { follow?: boolean; stderr?: boolean; file?: string }) => {
      const file = flags.file ?? (flags.stderr === true ? 'stderr' : 'stdout');
      await withOperator(flags, async (operator) => {
        const task = await findSandbox(operator, wanted);
        const pieces = flags.follow === true ? operator.files.follow(task, file) : readNow(operator, task, file);
        for await (const piece of pieces) await writeTo(streams.out, piece);
      });
    });
  const files = new Command('files')
    .description('list the sandbox of a task')
    .argument('<task>', 'its id, or <framework>/<task>; beginnings will do')
    .argument('[path]', 'a folder of the sandbox', '')
    .action(async (wanted: string, path: string, flags: ClusterFlags) => {
      const { directory, entries } = await withOperator(flags, async (operator) =>
        operator.files.list(await findSandbox(operator, wanted), path),
      );
      if (flags.json === true) return writeJson(streams, { directory, entries });
      await writeTo(streams.out, `${directory}\n${renderTable(fileColumns, entries)}`);
    });
  return [withConnection(logs), withJson(withConnection(files))];
}

/** A task that the cluster has forgotten may still have its sandbox, and is found by its whole name. */
async function findSandbox(operator: Operator, wanted: string): Promise<TaskKey> {
  try {
    return keyOf(await findTask(operator, wanted, { includeEnded: true }));
  } catch (error) {
    const slash = wanted.indexOf('/');
    if (!(error instanceof CommandError) || slash < 1) throw error;
    return { frameworkId: wanted.slice(0, slash), taskId: wanted.slice(slash + 1) };
  }
}

const keyOf = ({ frameworkId, id }: { frameworkId: string; id: string }): TaskKey => ({ frameworkId, taskId: id });

/** What is in the file now: not what is written to it meanwhile, which may never end. */
async function* readNow(operator: Operator, task: TaskKey, file: string): AsyncGenerator<Uint8Array, void> {
  let end = Number.POSITIVE_INFINITY;
  for (let offset = 0; offset < end; ) {
    const { data, sizeBytes } = await operator.files.read(task, file, { offset });
    if (end === Number.POSITIVE_INFINITY) end = sizeBytes;
    if (data.length === 0) return;
    offset += data.length;
    yield data;
  }
}

const typeBits = 0o170000;
const symbolicLink = 0o120000;

function nameOf({ name, isDirectory, mode }: FileEntry): string {
  if (isDirectory) return `${name}/`;
  return (mode & typeBits) === symbolicLink ? `${name}@` : name;
}

const fileColumns: readonly Column<FileEntry>[] = [
  { head: 'mode', cell: ({ mode }) => (mode & 0o7777).toString(8).padStart(4, '0') },
  { head: 'bytes', align: 'right', cell: ({ sizeBytes }) => sizeBytes },
  { head: 'modified', cell: ({ modifiedAt }) => `${modifiedAt.toISOString().slice(0, 19)}Z` },
  { head: 'name', cell: nameOf },
];
