import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import type { Closure } from './production-closure.ts';

export interface LayOutOptions {
  /** Of the checkout, built. */
  readonly repository: string;
  readonly closure: Closure;
  /** What the programs call their version. */
  readonly version: string;
  readonly node: string;
  readonly natsServer: string;
}

interface Program {
  readonly name: string;
  /** Below lib/node_modules. */
  readonly main: string;
  /** Of its environment, unless it has them already. */
  readonly defaults?: Readonly<Record<string, string>>;
}

const programs: readonly Program[] = [
  { name: 'mesobus', main: '@mesobus/cli/dist/main.js', defaults: { MESOBUS_NATS_SERVER: '$bin/nats-server' } },
  { name: 'mesobus-master', main: '@mesobus/master/dist/main.js' },
  { name: 'mesobus-allocator', main: '@mesobus/allocator/dist/main.js' },
  { name: 'mesobus-registry', main: '@mesobus/registry/dist/main.js' },
  { name: 'mesobus-hello', main: '@mesobus/framework-hello/dist/main.js' },
  // glibc keeps an arena of freed memory for each thread: on an agent it is the tasks that would pay for it.
  { name: 'mesobus-agent', main: '@mesobus/agent/dist/main.js', defaults: { MALLOC_ARENA_MAX: '2' } },
];

/** Parts of packages that nothing reads at run time; what they are licensed under stays. */
const notForRunning = /\.(d\.[cm]?ts|[cm]?ts|tsx|map|md|markdown|tsbuildinfo)$/i;
const foldersNotForRunning = new Set([
  'node_modules',
  'test',
  'tests',
  'bench',
  'benchmark',
  'benchmarks',
  'docs',
  'examples',
  '.github',
]);
const isLicense = (file: string): boolean => /^(licen[cs]e|copying|notice)/i.test(basename(file));

/**
 * Fills a folder with all that Mesobus needs to run.
 *
 * @throws {Error} something is missing; the message says what to run
 */
export function layOut(into: string, options: LayOutOptions): void {
  const { repository, closure, node, natsServer } = options;
  const library = join(into, 'lib', 'node_modules');
  const names = new Map(closure.workspaces.map((folder) => [folder, manifestOf(join(repository, folder)).name]));
  for (const [folder, name] of names) copyOwn(join(repository, folder), join(library, name), options.version);
  for (const folder of closure.installed) {
    copyInstalled(join(repository, folder), join(library, placeOf(folder, names)));
  }
  mkdirSync(join(into, 'bin'), { recursive: true });
  cpSync(node, join(into, 'bin', 'node'));
  cpSync(natsServer, join(into, 'bin', 'nats-server'));
  const template = readFileSync(join(import.meta.dirname, 'run.sh'), 'utf8');
  for (const program of programs) writeProgram(join(into, 'bin', program.name), program, template);
  cpSync(join(repository, 'infra/vm'), join(into, 'vm'), { recursive: true });
  for (const file of ['LICENSE', 'README.md']) cpSync(join(repository, file), join(into, file));
  cpSync(join(dirname(dirname(node)), 'LICENSE'), join(into, 'LICENSE.node'));
}

interface Manifest {
  readonly name: string;
  readonly [other: string]: unknown;
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
}

/** Where a package from npm stands: as in the checkout, but with our own packages among the others. */
function placeOf(folder: string, workspaces: ReadonlyMap<string, string>): string {
  if (folder.startsWith('node_modules/')) return folder.slice('node_modules/'.length);
  const workspace = folder.slice(0, folder.indexOf('/node_modules/'));
  return join(workspaces.get(workspace) as string, folder.slice(workspace.length + 1));
}

/** What was built of sources that are there, what was generated, and programs; no sources and no tests. */
function copyOwn(from: string, into: string, version: string): void {
  const dist = join(from, 'dist');
  if (!existsSync(dist)) throw new Error(`Cannot package '${from}': it is not built; run tsc -b`);
  const hasSource = (file: string): boolean =>
    existsSync(join(from, 'src', relative(dist, file)).replace(/\.js$/, '.ts'));
  cpSync(dist, join(into, 'dist'), {
    recursive: true,
    filter: (file) => (file.endsWith('.js') ? hasSource(file) : !notForRunning.test(file)),
  });
  for (const part of ['src/generated', 'native/prebuilt']) {
    if (!existsSync(join(from, part))) continue;
    cpSync(join(from, part), join(into, part), { recursive: true, filter: (file) => !notForRunning.test(file) });
  }
  const { scripts: _, devDependencies: __, ...manifest } = manifestOf(from);
  writeFileSync(join(into, 'package.json'), `${JSON.stringify({ ...manifest, version }, undefined, 2)}\n`);
}

/** Without the packages below it, which are copied by themselves. */
function copyInstalled(from: string, into: string): void {
  if (!existsSync(from)) throw new Error(`Cannot package '${from}': it is not installed; run npm ci`);
  const left = new Set([...foldersNotForRunning].map((name) => join(from, name)));
  const filter = (file: string): boolean => !left.has(file) && (isLicense(file) || !notForRunning.test(file));
  cpSync(from, into, { recursive: true, filter });
}

function writeProgram(file: string, { name, main, defaults = {} }: Program, template: string): void {
  const lines = Object.entries(defaults).map(([key, value]) => `: "\${${key}:=${value}}"\nexport ${key}\n`);
  const text = template
    .replace('@NAME@', () => name)
    .replace('@DEFAULTS@\n', () => lines.join(''))
    .replace('@PROGRAM@', () => main);
  writeFileSync(file, text);
  chmodSync(file, 0o755);
}
