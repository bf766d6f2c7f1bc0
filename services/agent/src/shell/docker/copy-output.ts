import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { framesOf, type OutputName, oneFrame } from './frames.ts';
import { OutputFile, type OutputFileOptions } from './output-file.ts';
import type { DockerRecord } from './records.ts';

interface Outputs extends Pick<DockerRecord, 'stdoutPath' | 'stderrPath' | 'user' | 'hasTerminal'> {
  /** The control folder. */
  readonly folder: string;
  readonly logMaxBytes: number;
}

const fileOf = ({ folder, user, logMaxBytes }: Outputs, path: string): OutputFileOptions => ({
  path,
  folder,
  user,
  maxBytes: logMaxBytes,
});

/** Before the container runs. What was fetched for it may have been told in its files. */
export async function prepareOutput(outputs: Outputs): Promise<void> {
  for (const path of [outputs.stdoutPath, outputs.stderrPath]) await OutputFile.prepare(fileOf(outputs, path));
}

/** Follows the output of a container into its files, from what they have to its end. */
export async function copyOutput(container: Docker.Container, outputs: Outputs, signal: AbortSignal): Promise<void> {
  const { stdoutPath, stderrPath, hasTerminal } = outputs;
  const stdout = await OutputFile.open(fileOf(outputs, stdoutPath));
  try {
    const stderr = await OutputFile.open(fileOf(outputs, stderrPath));
    try {
      await copyInto({ stdout, stderr }, container, hasTerminal, signal);
    } finally {
      await stderr.close();
    }
  } finally {
    await stdout.close();
  }
}

async function copyInto(
  files: Readonly<Record<OutputName, OutputFile>>,
  container: Docker.Container,
  hasTerminal: boolean,
  signal: AbortSignal,
): Promise<void> {
  const options = { follow: true, stdout: true, stderr: true, abortSignal: signal } as const;
  const stream = (await container.logs(options)) as Readable;
  for await (const { name, bytes } of hasTerminal ? oneFrame(stream) : framesOf(stream)) {
    await files[name].write(bytes);
  }
  signal.throwIfAborted();
}
