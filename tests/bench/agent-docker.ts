// Containers of Docker: a daemon for the benchmark alone, and what it does without an agent.
import { Dockerd } from '../../services/agent/test/docker/dockerd.ts';
import { findDockerd } from '../../services/agent/test/docker/find-dockerd.ts';

/** Of what the daemon's image holds. */
export const image = 'base';
export const shortCommand: readonly [string, ...string[]] = ['sleep', '0'];

/** @throws {Error} there can be none here */
export async function startDockerd(): Promise<Dockerd> {
  const found = findDockerd();
  if ('why' in found) throw new Error(`Cannot measure containers of Docker: ${found.why}`);
  return await Dockerd.start(found.path);
}

/** Bare `docker run --network host` of so many at once: created, started, and waited for to their end. */
export async function runsPerSecond({ docker }: Dockerd, count: number): Promise<number> {
  const runOne = async (): Promise<void> => {
    const HostConfig = { NetworkMode: 'host' }; // as of a task that says nothing of networks
    const container = await docker.createContainer({ Image: image, Cmd: [...shortCommand], HostConfig });
    await container.start();
    const { StatusCode: status } = (await container.wait()) as { readonly StatusCode: number };
    if (status !== 0) throw new Error(`The floor was not measured: a container ended with ${status}`);
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: count }, runOne));
  return (count * 1000) / (performance.now() - began);
}
