import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { ContainerizerEvent } from '../../src/shell/containerizer.ts';
import { DockerContainerizer } from '../../src/shell/docker/docker-containerizer.ts';

const silent = { info: () => {}, warn: () => {} };

/** Has a container started by a Docker that has no image, and begins to pull one; what comes of it. */
async function pulling(t: ExecutionContext) {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-pull-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const pull = Promise.withResolvers<ServerResponse>();
  const server = createServer((request, response) => {
    if (request.method === 'POST' && request.url?.includes('/images/create')) {
      response.write('{"status":"Downloading","id":"a","progressDetail":{"current":1,"total":10}}\n');
      pull.resolve(response);
    } else response.writeHead(404, { 'content-type': 'application/json' }).end('{"message":"none"}');
  });
  const socketPath = join(folder, 'docker.sock');
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const controlDir = join(folder, 'containers/c1');
  mkdirSync(controlDir, { recursive: true });
  const containerizer = new DockerContainerizer({
    owner: folder,
    allowPrivileged: false,
    enableCfs: false,
    socketPath,
    containersDir: join(folder, 'containers'),
    removeDelayMs: 0,
    killOrphans: true,
    logMaxBytes: 0,
    log: silent,
  });
  t.teardown(() => containerizer.close());
  const event = Promise.withResolvers<ContainerizerEvent>();
  containerizer.onEvent(event.resolve);
  containerizer.start({
    containerId: 'c1',
    controlDir,
    sandboxDir: folder,
    stdoutPath: join(folder, 'stdout'),
    stderrPath: join(folder, 'stderr'),
    argv: ['sh'],
    env: {},
    volumes: [],
    limits: { cpus: 1, memBytes: 0, hardMemBytes: 0 },
    container: { type: 1, docker: { image: 'far/away' } },
  });
  return { containerizer, pull: await pull.promise, event: event.promise };
}

test('a pull is given up when its container is to end', async (t) => {
  const { containerizer, event } = await pulling(t);
  containerizer.control('c1', { kind: 'kill' });
  t.like(await event, { kind: 'failed', message: 'it was told to end while it was prepared' });
});

test('a pull that fails says why', async (t) => {
  const { pull, event } = await pulling(t);
  pull.end('{"error":"denied"}\n');
  t.like(await event, { kind: 'failed', message: "cannot pull the image 'far/away': denied" });
});

test('a pull that is cut off has failed', async (t) => {
  const { pull, event } = await pulling(t);
  pull.destroy();
  t.like(await event, { kind: 'failed', message: "cannot pull the image 'far/away': aborted" });
});
