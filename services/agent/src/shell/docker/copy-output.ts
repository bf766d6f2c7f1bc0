import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { framesOf, type OutputName, oneFrame } from './frames.ts';
import { OutputFile } from './output-file.ts';
import type { DockerRecord } from './records.ts';

interface Outputs extends Pick<DockerRecord, 'stdoutPath' | 'stderrPath' | 'user' | 'hasTerminal'> {
  /** The control folder. */
  readonly folder: string;
  readonly logMaxBytes: number;
}

/** Follows the output of a container into its files, from what they have to its end. */
export async function copyOutput(container: Docker.Container, outputs: Outputs, signal: AbortSignal): Promise<void> {
  const { stdoutPath, stderrPath, folder, user, logMaxBytes: maxBytes, hasTerminal } = outputs;
  const open = (path: string): Promise<OutputFile> => OutputFile.open({ path, folder, user, maxBytes });
  const files: Readonly<Record<OutputName, OutputFile>> = {
    stdout: await open(stdoutPath),
    stderr: await open(stderrPath),
  };
  try {
    const options = { follow: true, stdout: true, stderr: true, abortSignal: signal } as const;
    const stream = (await container.logs(options)) as Readable;
    for await (const { name, bytes } of hasTerminal ? oneFrame(stream) : framesOf(stream)) {
      await files[name].write(bytes);
    }
    signal.throwIfAborted();
  } finally {
    await Promise.all([files.stdout.close(), files.stderr.close()]);
  }
}
