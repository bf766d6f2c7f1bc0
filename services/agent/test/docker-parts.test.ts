import { execFileSync } from 'node:child_process';
import { linkSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { mesos } from '@mesobus/protos';
import test, { type ExecutionContext } from 'ava';
import { parseContainerizers } from '../src/docker-options.ts';
import type { ContainerSpec } from '../src/shell/containerizer.ts';
import { limitsFor, requestOf } from '../src/shell/docker/container-request.ts';
import { framesOf } from '../src/shell/docker/frames.ts';
import { OutputFile } from '../src/shell/docker/output-file.ts';
import { tagged } from '../src/shell/docker/pull-image.ts';

const options = { owner: '/work', allowPrivileged: false, enableCfs: false };
const limits = { cpus: 0.5, memBytes: 64 * 2 ** 20, hardMemBytes: 128 * 2 ** 20 };

function specOf(
  docker: Partial<mesos.v1.ContainerInfo.DockerInfo.$Properties>,
  rest: Partial<ContainerSpec> = {},
): ContainerSpec {
  return {
    containerId: 'c1',
    controlDir: '/control',
    sandboxDir: '/sandbox',
    stdoutPath: '/sandbox/stdout',
    stderrPath: '/sandbox/stderr',
    argv: ['sh'],
    env: { A: '1' },
    volumes: [],
    limits,
    container: { type: 1, docker: { image: 'i', ...docker } },
    ...rest,
  };
}

test('Docker is asked for shares, the hard limit of memory, and the network of the host unless another is named', (t) => {
  const request = requestOf(specOf({}), options);
  t.like(request, { name: 'mesobus-c1', Image: 'i', Env: ['A=1'], Labels: { 'mesobus.work-dir': '/work' } });
  t.like(request.HostConfig, {
    NetworkMode: 'host',
    CpuShares: 512,
    Memory: 128 * 2 ** 20,
    MemoryReservation: 64 * 2 ** 20,
    Privileged: false,
  });
  t.false('NanoCpus' in (request.HostConfig ?? {}));
  t.is(limitsFor(limits, { enableCfs: true }).NanoCpus, 5e8);
  t.is(limitsFor({ ...limits, hardCpus: 2 }, { enableCfs: true }).NanoCpus, 2e9);
});

const commands = [
  ['a shell line', { value: 'echo a' }, ['/bin/sh'], ['-c', 'echo a']],
  ['nothing', { shell: false }, undefined, undefined],
  ['arguments for its own entry point', { shell: false, arguments: ['a', 'b'] }, undefined, ['a', 'b']],
  ['a value and arguments', { shell: false, value: 'v', arguments: ['a'] }, undefined, ['v', 'a']],
] as const;
for (const [what, command, Entrypoint, Cmd] of commands) {
  test(`an image is given ${what}`, (t) => {
    const { Entrypoint: entry, Cmd: words } = requestOf(
      specOf({}, { command: { ...command, arguments: [...('arguments' in command ? command.arguments : [])] } }),
      options,
    );
    t.deepEqual([entry, words] as unknown, [Entrypoint, Cmd]);
  });
}

test('volumes are bound, those with a relative path in the sandbox; ports are mapped', (t) => {
  const volumes = [
    { hostPath: '/data', containerPath: '/inside', readOnly: true },
    { hostPath: '/vol', containerPath: 'vol', readOnly: false },
  ];
  const portMappings = [{ hostPort: 31_000, containerPort: 80, protocol: 'udp' }];
  const { HostConfig: host, ExposedPorts: exposed } = requestOf(
    specOf({ network: 2, portMappings }, { volumes }),
    options,
  );
  t.deepEqual(
    host?.Mounts?.map(({ Source, Target, ReadOnly }) => [Source, Target, ReadOnly]),
    [
      ['/sandbox', '/mnt/mesos/sandbox', false],
      ['/data', '/inside', true],
      ['/vol', '/mnt/mesos/sandbox/vol', false],
    ],
  );
  t.deepEqual(host?.PortBindings, { '80/udp': [{ HostPort: '31000' }] });
  t.deepEqual(exposed, { '80/udp': {} });
  t.is(host?.NetworkMode, 'bridge');
});

test('parameters do what they do with docker run', (t) => {
  const pairs = {
    env: 'B=2',
    label: 'x=y=z',
    user: '1000',
    workdir: '/w',
    'shm-size': '64m',
    ulimit: 'nofile=10:20',
    tmpfs: '/t:size=1m',
    'read-only': 'true',
  };
  const parameters = Object.entries(pairs).map(([key, value]) => ({ key, value }));
  const request = requestOf(specOf({ parameters }), options);
  t.deepEqual(request.Env, ['A=1', 'B=2']);
  t.like(request, { User: '1000', WorkingDir: '/w', Labels: { x: 'y=z' } });
  t.like(request.HostConfig, {
    ShmSize: 64 * 2 ** 20,
    Ulimits: [{ Name: 'nofile', Soft: 10, Hard: 20 }],
    Tmpfs: { '/t': 'size=1m' },
    ReadonlyRootfs: true,
  });
});

test('a container has all its aliases, and no more processes than the agent lets it have', (t) => {
  const ask = (...pairs: [string, string][]) =>
    requestOf(specOf({ network: 2, parameters: pairs.map(([key, value]) => ({ key, value })) }), {
      ...options,
      pidsLimit: 100,
    });
  const { NetworkingConfig: networks } = ask(['network-alias', 'a'], ['network-alias', 'b']);
  t.deepEqual(networks?.EndpointsConfig?.['bridge']?.Aliases, ['a', 'b']);
  t.is(ask(['pids-limit', '10']).HostConfig?.PidsLimit, 10);
  for (const value of ['101', '0', '-1']) t.throws(() => ask(['pids-limit', value]), { message: /100 at most/ });
});

const refused = [
  ['magic', 'x', /'magic' is not possible: known are add-host, /],
  ['restart', 'always', /'restart' is not possible: a task ends with its container/],
  ['toString', 'x', /'toString' is not possible/],
  ['cap-add', 'SYS_ADMIN', /'cap-add' is not possible: this agent runs without --docker-allow-privileged/],
  ['shm-size', 'many', /'shm-size' is no number/],
  ['label', 'mesobus.work-dir=/other', /is the agent's own/],
] as const;
for (const [key, value, why] of refused) {
  test(`the parameter ${key}=${value} is refused, and it is said why`, (t) => {
    t.throws(() => requestOf(specOf({ parameters: [{ key, value }] }), options), { message: why });
  });
}

test('privileged containers need an agent that allows them', (t) => {
  t.throws(() => requestOf(specOf({ privileged: true }), options), { message: /--docker-allow-privileged/ });
  const parameters = [{ key: 'cap-add', value: 'SYS_ADMIN' }];
  const { HostConfig: host } = requestOf(specOf({ privileged: true, parameters }), {
    ...options,
    allowPrivileged: true,
  });
  t.like(host, { Privileged: true, CapAdd: ['SYS_ADMIN'] });
});

test('an image without a tag is the latest', (t) => {
  const names = ['a', 'a:1', 'host:5000/a', 'host:5000/a:2', 'a@sha256:00'];
  t.deepEqual(names.map(tagged), ['a:latest', 'a:1', 'host:5000/a:latest', 'host:5000/a:2', 'a@sha256:00']);
});

test('the frames of a stream are told apart wherever it is cut', async (t) => {
  const frame = (type: number, text: string): Buffer => {
    const header = Buffer.alloc(8);
    header.writeUInt8(type, 0);
    header.writeUInt32BE(text.length, 4);
    return Buffer.concat([header, Buffer.from(text)]);
  };
  const whole = Buffer.concat([frame(1, 'out'), frame(2, 'err'), frame(1, ''), frame(1, 'more')]);
  for (let size = 1; size <= whole.length; size += 1) {
    const said = { stdout: '', stderr: '' };
    const cut = async function* (): AsyncGenerator<Buffer> {
      for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size);
    };
    for await (const { name, bytes } of framesOf(cut())) said[name] += bytes.toString();
    t.deepEqual(said, { stdout: 'outmore', stderr: 'err' });
  }
  const broken = async (): Promise<void> => {
    for await (const _ of framesOf([frame(3, 'no log')] as unknown as AsyncIterable<Buffer>));
  };
  await t.throwsAsync(broken, { message: /no log/ });
});

function tempFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-output-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('an output that is told from its beginning again is neither lost nor doubled, wherever it was cut off', async (t) => {
  const folder = tempFolder(t);
  const path = join(folder, 'stdout');
  const output = Array.from({ length: 100 }, (_, line) => `line ${line}\n`).join('');
  for (let end = 0; end <= output.length; end += 37) {
    const file = await OutputFile.open({ path, folder, maxBytes: 0 });
    for (let at = 0; at < end; at += 10) await file.write(Buffer.from(output.slice(at, Math.min(end, at + 10))));
    await file.close();
    t.is(readFileSync(path, 'utf8'), output.slice(0, end));
  }
});

test('an output that is begun anew when it is large goes on where it was', async (t) => {
  const folder = tempFolder(t);
  const path = join(folder, 'stdout');
  const output = Array.from({ length: 100 }, (_, line) => `line ${line}\n`).join('');
  let kept = '';
  for (let end = 0; end <= output.length; end += 37) {
    const file = await OutputFile.open({ path, folder, maxBytes: 100 });
    for (let at = 0; at < end; at += 10) await file.write(Buffer.from(output.slice(at, Math.min(end, at + 10))));
    await file.close();
    kept = readFileSync(path, 'utf8');
    t.true(output.slice(0, end).endsWith(kept));
    if (end > 110) t.true(output.slice(0, end).endsWith(readFileSync(`${path}.1`, 'utf8') + kept));
    t.true(kept.length < 110);
  }
});

test('what was in the file before the container ran is not taken for its output', async (t) => {
  const folder = tempFolder(t);
  const path = join(folder, 'stderr');
  const options = { path, folder, maxBytes: 0 };
  writeFileSync(path, 'fetched\n');
  await OutputFile.prepare(options);
  for (const end of [4, 9]) {
    const file = await OutputFile.open(options);
    await file.write(Buffer.from('one\ntwo\nthree'.slice(0, end)));
    await file.close();
  }
  t.is(readFileSync(path, 'utf8'), 'fetched\none\ntwo\nt');
});

const traps = [
  ['a link', symlinkSync],
  ['another name of a file', linkSync],
  ['a FIFO', (_: string, path: string) => execFileSync('mkfifo', [path])],
] as const;
for (const [what, make] of traps) {
  test(`${what} that a task has put in place of its output is not written to`, async (t) => {
    const folder = tempFolder(t);
    const elsewhere = join(folder, 'elsewhere');
    writeFileSync(elsewhere, 'as it was');
    const path = join(folder, 'stdout');
    make(elsewhere, path);
    const options = { path, folder, maxBytes: 0, user: { uid: 1, gid: 1, groups: [] } };
    await t.throwsAsync(OutputFile.open(options));
    await t.throwsAsync(OutputFile.prepare(options));
    t.is(readFileSync(elsewhere, 'utf8'), 'as it was');
  });
}

test('containerizers are known by name, also by that of Mesos', (t) => {
  t.deepEqual([...parseContainerizers('mesos, docker')], ['process', 'docker']);
  t.throws(() => parseContainerizers('process,podman'), { message: /'podman'.*use 'process' or 'docker'/ });
  t.throws(() => parseContainerizers('docker'), { message: /use 'process,docker'/ });
});
