import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import type { mesos } from '@mesobus/protos';
import { connectNats } from '@mesobus/sdk/bus';
import { startNatsServer } from '@mesobus/sdk/testing';
import { Objm } from '@nats-io/obj';
import test, { type ExecutionContext } from 'ava';
import { FetchCache } from '../../src/shell/fetcher/fetch-cache.ts';
import { Fetcher, type FetcherOptions, type FetchRequest } from '../../src/shell/fetcher/fetcher.ts';
import { Slots } from '../../src/shell/fetcher/slots.ts';
import { httpGet } from '../../src/shell/http-get.ts';
import { tempWorkDir, untilIn } from './bench.ts';

const isRoot = process.getuid?.() === 0;
const needsRoot = isRoot ? test : test.skip;
const nobody = { uid: 65_534, gid: 65_534, groups: [] };

type Uri = mesos.v1.CommandInfo.URI.$Properties;
type Handler = (request: IncomingMessage, response: ServerResponse) => void;

function tempFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'mesobus-fetch-'));
  chmodSync(folder, 0o755);
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A web server of one test. */
async function serve(t: ExecutionContext, handler: Handler): Promise<string> {
  const server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A fetcher, and sandboxes for it. */
class Bench {
  readonly folder: string;
  readonly fetcher: Fetcher;
  #count = 0;

  constructor(t: ExecutionContext, options: Partial<FetcherOptions> = {}) {
    this.folder = tempFolder(t);
    const cacheDir = join(this.folder, 'cache');
    this.fetcher = new Fetcher({ cacheDir, cacheBytes: 2 ** 20, stallTimeoutMs: 60_000, ...options });
  }

  sandbox(user?: FetchRequest['user']): string {
    this.#count += 1;
    const sandbox = join(this.folder, 'sandboxes', String(this.#count));
    mkdirSync(sandbox, { recursive: true });
    if (user) chownSync(sandbox, user.uid, user.gid);
    return sandbox;
  }

  /** Fetches into a new sandbox, and says which. */
  async fetch(uris: readonly (Uri | string)[], more: Partial<FetchRequest> = {}): Promise<string> {
    const sandboxDir = more.sandboxDir ?? this.sandbox(more.user);
    const signal = new AbortController().signal;
    const all = uris.map((uri) => (typeof uri === 'string' ? { value: uri } : uri));
    await this.fetcher.fetch({ uris: all, user: undefined, signal, ...more, sandboxDir });
    return sandboxDir;
  }
}

const read = (...path: string[]): string => readFileSync(join(...path), 'utf8');

test('a file comes under its name, without the query, also behind redirects', async (t) => {
  const url = await serve(t, ({ url }, response) => {
    if (url === '/old') response.writeHead(302, { location: '/new/elsewhere' }).end();
    else response.end(`at ${url}`);
  });
  const sandbox = await new Bench(t).fetch([`${url}/a/tool%20one.txt?key=1#x`, `${url}/old`]);
  t.is(read(sandbox, 'tool one.txt'), 'at /a/tool%20one.txt?key=1');
  t.is(read(sandbox, 'old'), 'at /new/elsewhere');
  t.is(statSync(join(sandbox, 'old')).mode & 0o777, 0o644);
  t.regex(read(sandbox, 'stderr'), /^Fetching '.*' to 'tool one.txt'\nFetched '.*'\n/);
});

test('a file of the machine comes by its path, as it is written', async (t) => {
  const bench = new Bench(t);
  const path = join(bench.folder, 'a%20b');
  writeFileSync(path, 'here');
  const sandbox = await bench.fetch([path, { value: `file://${path}`, outputFile: 'c/d' }]);
  t.is(read(sandbox, 'a%20b'), 'here');
  t.is(read(sandbox, 'c/d'), 'here');
});

const archives: readonly (readonly [string, ...string[]])[] = [
  ['a.tar', 'tar', '-cf'],
  ['a.tar.gz', 'tar', '-czf'],
  ['a.tgz', 'tar', '-czf'],
  ['a.tar.bz2', 'tar', '-cjf'],
  ['a.tbz2', 'tar', '-cjf'],
  ['a.tar.xz', 'tar', '-cJf'],
  ['a.txz', 'tar', '-cJf'],
  ['a.zip', 'zip', '-qry'],
];
for (const [name, ...program] of archives) {
  test(`${name} is unpacked, and stays`, async (t) => {
    const bench = new Bench(t);
    const made = join(bench.folder, 'made');
    mkdirSync(join(made, 'dir'), { recursive: true });
    writeFileSync(join(made, 'dir/file'), 'packed');
    writeFileSync(join(made, 'run'), '', { mode: 0o755 });
    const [file = '', ...args] = program;
    execFileSync(file, [...args, join(bench.folder, name), 'dir', 'run'], { cwd: made });
    const sandbox = await bench.fetch([join(bench.folder, name)]);
    t.is(read(sandbox, 'dir/file'), 'packed');
    t.is(statSync(join(sandbox, 'run')).mode & 0o777, 0o755);
    t.true(existsSync(join(sandbox, name)));
    t.false(existsSync(join(sandbox, '.mesobus-extract')));

    const asIs = await bench.fetch([{ value: join(bench.folder, name), extract: false }]);
    t.false(existsSync(join(asIs, 'dir')));
    const tool = await bench.fetch([{ value: join(bench.folder, name), executable: true }]);
    t.false(existsSync(join(tool, 'dir')));
    t.is(statSync(join(tool, name)).mode & 0o777, 0o755);
  });
}

test('what is only compressed is unpacked beside itself', async (t) => {
  const bench = new Bench(t);
  writeFileSync(join(bench.folder, 'log'), 'lines');
  execFileSync('gzip', [join(bench.folder, 'log')]);
  const sandbox = await bench.fetch([{ value: join(bench.folder, 'log.gz'), outputFile: 'logs/one.gz' }]);
  t.is(read(sandbox, 'logs/one'), 'lines');
});

/** Packs files in a folder of its own. */
function pack(bench: Bench, archive: string, make: (folder: string) => void, ...members: string[]): string {
  const folder = join(bench.folder, `of-${archive}`, 'in');
  mkdirSync(folder, { recursive: true });
  make(folder);
  const path = join(bench.folder, archive);
  const [file, ...args] = archive.endsWith('.zip') ? ['zip', '-qry', path] : ['tar', '-cPf', path];
  execFileSync(file, [...args, ...members], { cwd: folder });
  return path;
}

test('an archive that leads out of the sandbox leaves nothing there', async (t) => {
  const bench = new Bench(t);
  const evil = (folder: string): void => writeFileSync(join(dirname(folder), 'evil'), '');
  const [tar, zip] = ['up.tar', 'up.zip'].map((name) => pack(bench, name, evil, '../evil'));
  const sandboxDir = bench.sandbox();
  await t.throwsAsync(bench.fetch([tar ?? ''], { sandboxDir }), { message: /Cannot fetch '.*': .*\.\./s });
  await bench.fetch([zip ?? ''], { sandboxDir }); // unzip leaves '..' out
  t.false(existsSync(join(dirname(sandboxDir), 'evil')));
  t.true(existsSync(join(sandboxDir, 'evil')));
});

test('a link that an archive brings does not lead the next one out of the sandbox', async (t) => {
  const bench = new Bench(t);
  const outside = join(bench.folder, 'outside');
  mkdirSync(outside);
  const link = pack(bench, 'link.tar', (folder) => execFileSync('ln', ['-s', outside, join(folder, 'dir')]), 'dir');
  const through = pack(
    bench,
    'through.tar',
    (folder) => {
      mkdirSync(join(folder, 'dir'));
      writeFileSync(join(folder, 'dir/evil'), '');
    },
    'dir/evil',
  );
  await t.throwsAsync(bench.fetch([link, through]), { message: /Cannot fetch '.*through.tar'/ });
  const out = { value: through, outputFile: 'dir/evil', extract: false };
  await t.throwsAsync(bench.fetch([link, out]), { message: /'dir' leads out of the sandbox/ });
  t.false(existsSync(join(outside, 'evil')));
});

test('a fetch that was cut off is done again over what it has left', async (t) => {
  const bench = new Bench(t);
  const path = pack(bench, 'a.tar', (folder) => writeFileSync(join(folder, 'file'), 'new'), 'file');
  const sandboxDir = bench.sandbox();
  mkdirSync(join(sandboxDir, '.mesobus-extract/dir'), { recursive: true });
  writeFileSync(join(sandboxDir, 'file'), 'old');
  writeFileSync(join(sandboxDir, 'a.tar'), 'half');
  await bench.fetch([path], { sandboxDir });
  t.is(read(sandboxDir, 'file'), 'new');
  t.false(existsSync(join(sandboxDir, '.mesobus-extract')));
});

needsRoot('everything is done as the user of the task, who gets nothing that is not his to read', async (t) => {
  const bench = new Bench(t);
  const archive = pack(bench, 'a.tar', (folder) => writeFileSync(join(folder, 'file'), ''), 'file');
  const sandbox = await bench.fetch([{ value: archive, cache: true }], { user: nobody });
  for (const name of ['a.tar', 'file', 'stderr']) t.is(statSync(join(sandbox, name)).uid, nobody.uid, name);
  const secret = join(bench.folder, 'secret');
  writeFileSync(secret, 'no', { mode: 0o600 });
  for (const cache of [false, true]) {
    const fetching = bench.fetch([{ value: secret, cache }], { user: nobody });
    await t.throwsAsync(fetching, { message: /Cannot fetch '.*secret': .*Permission denied/ });
  }
  await bench.fetch([{ value: secret, cache: true }]);
  const fetching = bench.fetch([{ value: secret, cache: true }], { user: nobody });
  await t.throwsAsync(fetching, { message: /Permission denied/ }, 'what another user has brought into the cache');
});

test('an object comes from an object store, whole and checked, also by a link', async (t) => {
  const server = await startNatsServer({ jetstream: true });
  t.teardown(() => server.stop());
  const bus = await connectNats({ servers: server.url, name: 'test' });
  t.teardown(() => bus.close());
  const { connection } = bus;
  const store = await new Objm(connection).create('tools');
  const content = Buffer.alloc(3 * 2 ** 20 + 17, 'mesobus ');
  await store.putBlob({ name: 'bin/tool v1' }, content);
  await store.putBlob({ name: 'nothing' }, new Uint8Array());
  await store.link('latest', await info(store, 'bin/tool v1'));
  const bench = new Bench(t, { connection });
  const uris = ['nats://tools/bin/tool%20v1', 'nats://tools/latest', 'nats://tools/nothing'];
  const sandbox = await bench.fetch([...uris, { value: 'nats://tools/latest', outputFile: 'cached', cache: true }]);
  for (const name of ['tool v1', 'latest']) t.true(content.equals(readFileSync(join(sandbox, name))), name);
  t.is(read(sandbox, 'nothing'), '');
  t.is(statSync(join(sandbox, 'cached')).size, content.length);
  await t.throwsAsync(bench.fetch(['nats://tools/none']), { message: /there is no object 'none' in 'tools'; see/ });
  await t.throwsAsync(bench.fetch(['nats://none/tool']), { message: /there is no object store 'none'/ });
  await t.throwsAsync(bench.fetch(['nats://tools']), { message: /it does not end with the name of a file/ });
});

async function info(store: Awaited<ReturnType<Objm['create']>>, name: string) {
  const found = await store.info(name);
  if (found === null) throw new Error(`there is no ${name}`);
  return found;
}

test('what cannot be fetched says which, what, why and what to do', async (t) => {
  const url = await serve(t, (_, response) => response.writeHead(404).end());
  const bench = new Bench(t);
  const cases: readonly (readonly [Uri | string, RegExp])[] = [
    [`${url}/x`, /^Cannot fetch 'http:.*\/x': the server answers 404 Not Found; see that it is there/],
    ['http://127.0.0.1:1/x', /ECONNREFUSED/],
    ['hdfs://host/x', /'hdfs' is not fetched by this agent; use http, https, nats/],
    ['tool.tgz', /it does not end with the name of a file|the path is relative/],
    ['dir/tool.tgz', /the path is relative; give an absolute one/],
    [`${url}/`, /it does not end with the name of a file; name one, or set output_file/],
    ['/nowhere/x', /No such file/],
    [bench.folder, /it is a folder/],
    [{ value: `${url}/x`, outputFile: '../x' }, /its output_file '..\/x' is no file below the sandbox/],
    [{ value: `${url}/x`, outputFile: '/etc/x' }, /its output_file '\/etc\/x' is no file/],
    [`http://me:secret@127.0.0.1:1/x`, /^Cannot fetch 'http:\/\/127.0.0.1:1\/x'/],
  ];
  for (const [uri, message] of cases) {
    const sandboxDir = bench.sandbox();
    const error = await t.throwsAsync(bench.fetch([uri], { sandboxDir }), { message });
    t.true(read(sandboxDir, 'stderr').includes(error?.message ?? '-'));
  }
});

test('a download that ends early fails', async (t) => {
  const url = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('half', () => response.destroy());
  });
  for (const cache of [false, true]) {
    await t.throwsAsync(new Bench(t).fetch([{ value: `${url}/x`, cache }]), { message: /Cannot fetch '.*x': aborted/ });
  }
});

for (const [what, handler] of [
  ['answers nothing', () => {}],
  ['stops in the middle', (_: unknown, response: ServerResponse) => void response.write('some')],
] as const) {
  test(`a server that ${what} is given up after the stall timeout`, async (t) => {
    const url = await serve(t, handler);
    const bench = new Bench(t, { stallTimeoutMs: 100 });
    for (const cache of [false, true]) {
      const fetching = bench.fetch([{ value: `${url}/x`, cache }]);
      await t.throwsAsync(fetching, { message: /nothing has come for 100 ms; see that the server answers/ });
    }
  });
}

test('a large download says how far it is', async (t) => {
  const url = await serve(t, (_, response) => {
    response.writeHead(200, { 'content-length': String(2 ** 20) }).end(Buffer.alloc(2 ** 20));
  });
  const sandbox = await new Bench(t, { noteBytes: 2 ** 19 }).fetch([`${url}/x`]);
  t.regex(read(sandbox, 'stderr'), /\.\.\. 0\.\d MB of 1\.0 MB \(\d\d %\)\n\.\.\. 1\.0 MB of 1\.0 MB \(100 %\)\n/);
});

test('a fetch that is not wanted any more ends at once, and its connection with it', async (t) => {
  const left = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const url = await serve(t, (request, response) => {
    response.write('some');
    request.socket.on('close', () => left.resolve());
    asked.resolve();
  });
  const gone = new AbortController();
  const fetching = new Bench(t).fetch([`${url}/x`], { signal: gone.signal });
  await asked.promise;
  gone.abort(new Error('killed'));
  await t.throwsAsync(fetching, { message: 'killed' });
  await t.notThrowsAsync(left.promise);
});

// ---- the cache

/** Serves '/<bytes>…', and counts. */
async function serveCounted(t: ExecutionContext): Promise<{ readonly url: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const url = await serve(t, ({ url = '' }, response) => {
    asked.push(url);
    response.end(Buffer.alloc(Number(/\d+/.exec(url)?.[0])));
  });
  return { url, asked };
}

test('what is cached is not asked for again, by whoever is the same user', async (t) => {
  const { url, asked } = await serveCounted(t);
  const bench = new Bench(t);
  const uri = { value: `${url}/5`, cache: true };
  await bench.fetch([uri]);
  const second = await bench.fetch([{ ...uri, outputFile: 'x' }]);
  t.is(statSync(join(second, 'x')).size, 5);
  t.deepEqual(asked, ['/5']);
  if (isRoot) await bench.fetch([uri], { user: nobody });
  t.is(asked.length, isRoot ? 2 : 1);
  await bench.fetch([{ value: uri.value }]);
  t.is(asked.length, isRoot ? 3 : 2, 'without cache it is');
});

test('two tasks that want the same at one time share one download', async (t) => {
  let asked = 0;
  const { promise: go, resolve } = Promise.withResolvers<void>();
  const url = await serve(t, (_, response) => {
    asked += 1;
    void go.then(() => response.end('shared'));
  });
  const bench = new Bench(t);
  const uri = { value: `${url}/x`, cache: true };
  const sandboxes = [bench.sandbox(), bench.sandbox()];
  const both = sandboxes.map((sandboxDir) => bench.fetch([uri], { sandboxDir }));
  for (const sandbox of sandboxes) await untilIn(sandbox, () => hasNoted(sandbox));
  resolve();
  await Promise.all(both);
  t.deepEqual(
    sandboxes.map((sandbox) => read(sandbox, 'x')),
    ['shared', 'shared'],
  );
  t.is(asked, 1);
});

const hasNoted = (sandbox: string): boolean =>
  existsSync(join(sandbox, 'stderr')) && read(sandbox, 'stderr').startsWith('Fetching');

test('a shared download goes on while anybody waits for it, and ends with the last', async (t) => {
  const left = Promise.withResolvers<void>();
  const answers: ServerResponse[] = [];
  const url = await serve(t, (request, response) => {
    answers.push(response);
    if (answers.length === 2) request.socket.on('close', () => left.resolve());
  });
  const bench = new Bench(t);
  const uri = { value: `${url}/x`, cache: true };
  const begin = async () => {
    const gone = new AbortController();
    const sandboxDir = bench.sandbox();
    const done = bench.fetch([uri], { sandboxDir, signal: gone.signal });
    done.catch(() => {});
    await untilIn(sandboxDir, () => hasNoted(sandboxDir));
    return { gone, done };
  };
  const [first, second] = [await begin(), await begin()];
  first.gone.abort(new Error('killed'));
  await t.throwsAsync(first.done, { message: 'killed' });
  while (answers.length === 0) await new Promise((resolve) => setImmediate(resolve));
  answers[0]?.end('whole');
  t.is(read(await second.done, 'x'), 'whole');

  const other = { ...uri, value: `${url}/y` };
  const gone = new AbortController();
  const alone = bench.fetch([other], { signal: gone.signal });
  alone.catch(() => {});
  while (answers.length < 2) await new Promise((resolve) => setImmediate(resolve));
  gone.abort(new Error('killed'));
  await t.throwsAsync(alone, { message: 'killed' });
  await left.promise;
});

test('a shared download that fails does for all, and is tried anew by the next', async (t) => {
  let asked = 0;
  const { promise: go, resolve } = Promise.withResolvers<void>();
  const url = await serve(t, (_, response) => {
    asked += 1;
    if (asked > 1) response.end('there');
    else void go.then(() => response.writeHead(503).end());
  });
  const bench = new Bench(t);
  const uri = { value: `${url}/x`, cache: true };
  const sandboxes = [bench.sandbox(), bench.sandbox()];
  const both = sandboxes.map((sandboxDir) => t.throwsAsync(bench.fetch([uri], { sandboxDir }), { message: /503/ }));
  for (const sandbox of sandboxes) await untilIn(sandbox, () => hasNoted(sandbox));
  resolve();
  await Promise.all(both);
  t.is(read(await bench.fetch([uri]), 'x'), 'there');
  t.is(asked, 2);
});

test('what was not used for longest goes first; what is larger than the cache bypasses it', async (t) => {
  const { url, asked } = await serveCounted(t);
  const bench = new Bench(t, { cacheBytes: 100 });
  const fetch = (name: string) => bench.fetch([{ value: `${url}/${name}`, cache: true }]);
  await fetch('40a');
  await fetch('40b');
  await fetch('40a');
  await fetch('40c'); // b goes
  await fetch('40a');
  t.deepEqual(asked.splice(0), ['/40a', '/40b', '/40c']);
  await fetch('40b'); // c goes
  await fetch('40a');
  t.deepEqual(asked.splice(0), ['/40b']);
  const sandbox = await fetch('101');
  t.is(statSync(join(sandbox, '101')).size, 101);
  t.regex(read(sandbox, 'stderr'), /The cache of 100 bytes has no room for it/);
  await fetch('40a');
  t.deepEqual(asked, ['/101', '/101']);
});

test('a bounded number of tasks is fetched for at a time; one that is not wanted any more need not wait', async (t) => {
  const slots = new Slots(2);
  const never = new AbortController().signal;
  const ends = [0, 1, 2].map(() => Promise.withResolvers<void>());
  const begun: number[] = [];
  const all = ends.map(({ promise }, index) =>
    slots.run(never, async () => {
      begun.push(index);
      await promise;
    }),
  );
  const gone = new AbortController();
  const unwanted = slots.run(gone.signal, () => Promise.resolve());
  gone.abort(new Error('killed'));
  await t.throwsAsync(unwanted, { message: 'killed' });
  t.deepEqual(begun, [0, 1]);
  ends[1]?.resolve();
  await all[1];
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(begun, [0, 1, 2]);
  for (const { resolve } of ends) resolve();
  await Promise.all(all);
});

test('a server whose certificate nobody vouches for is not fetched from', async (t) => {
  const folder = tempFolder(t);
  const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
  const subject = ['-subj', '/CN=localhost', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, ...subject], {
    stdio: 'ignore',
  });
  const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_, response) => {
    response.writeHead(204).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const url = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}/x`);
  await t.throwsAsync(new Bench(t).fetch([url.href]), { message: /Cannot fetch 'https:.*': self-signed certificate/ });
  const { signal } = new AbortController();
  t.is((await httpGet(url, { signal, anyCertificate: true })).statusCode, 204); // as a check of a task does
});

test('a cache has so many files at most, also if they are empty', async (t) => {
  const dir = join(tempWorkDir(t), 'cache');
  const cache = new FetchCache(dir, 1_000, 3);
  const never = new AbortController().signal;
  for (let number = 1; number <= 5; number += 1) {
    const lease = await cache.take(`key ${number}`, async () => ({ stream: Readable.from([]), size: 0 }), never);
    lease?.release();
  }
  t.is(readdirSync(dir).length, 3);
});
