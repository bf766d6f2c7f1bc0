import { readFileSync } from 'node:fs';
import { ConfigError } from './config-error.ts';
import { type ConfigDefinition, type ConfigOf, envOf, type NamedOption } from './define-config.ts';
import { parseFlags } from './parse-flags.ts';

/** Where `loadConfig` reads; the process's own by default. */
export interface ConfigSources {
  /** Without node and the script. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Something written for an option, and where. */
interface Found {
  readonly written: unknown;
  /** In words: `flag --x`, `environment variable MESOBUS_X`, `file a.yaml: x`. */
  readonly from: string;
}

type Lookup = (flag: string, env: readonly string[]) => Found | undefined;

/**
 * Reads the configuration: flags first, then the environment (`MESOBUS_<FLAG>`; an empty variable counts as unset), then
 * the file that `--config` names, then defaults.
 *
 * @throws {ConfigError} everything that is wrong with what was given, at once
 * @throws {TextWanted} `--help` or `--version` was given
 */
export async function loadConfig<Table>(
  definition: ConfigDefinition<Table>,
  sources: ConfigSources = {},
): Promise<ConfigOf<Table>> {
  const env = sources.env ?? process.env;
  const flags = await parseFlags(definition, sources.args ?? process.argv.slice(2));
  const fromFlagOrEnv: Lookup = (flag, names) => {
    const given = flags.get(flag);
    if (given !== undefined) return { written: given, from: `flag --${flag}` };
    const name = names.find((one) => (env[one] ?? '') !== '');
    return name === undefined ? undefined : { written: env[name], from: `environment variable ${name}` };
  };
  const problems: string[] = [];
  const path = fromFlagOrEnv('config', [envOf('config')]);
  const file = path === undefined ? new Map<string, Found>() : await readConfigFile(String(path.written), path.from);
  refuseUnknownKeys(definition, file, problems);
  const find: Lookup = (flag, names) => fromFlagOrEnv(flag, names) ?? file.get(flag);

  const config: Record<string, unknown> = {};
  for (const named of definition.options) config[named.key] = readOption(named, find, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  return config as ConfigOf<Table>;
}

function readOption(named: NamedOption, find: Lookup, problems: string[]): unknown {
  const { flag, option } = named;
  const found = option.secret ? findSecret(named, find, problems) : find(flag, named.env);
  if (found !== undefined) {
    const reading = option.read(found.written);
    if (reading.ok) return reading.value;
    const shown = option.secret ? 'the value' : JSON.stringify(found.written);
    problems.push(
      `Cannot use ${shown} from ${found.from}: expected ${reading.expected}, for example ${option.example}`,
    );
    return undefined;
  }
  if (option.fallback !== undefined) {
    const reading = option.read(option.fallback);
    return reading.ok ? reading.value : undefined;
  }
  if (!option.optional) problems.push(missing(named));
  return undefined;
}

function missing({ flag, env, option }: NamedOption): string {
  const places = `flag --${flag}, environment variable ${env[0]}, or ${flag} in the file of --config`;
  return `Cannot start without --${flag} (${option.help}): give it as ${places}, for example ${option.example}`;
}

/** A secret stands for itself, or its file holds it; both is refused, because one of them is surely forgotten. */
function findSecret({ flag, env }: NamedOption, find: Lookup, problems: string[]): Found | undefined {
  const itself = find(flag, env);
  const file = find(`${flag}-file`, [envOf(`${flag}-file`)]);
  if (itself !== undefined && file !== undefined) {
    problems.push(`Cannot use both ${itself.from} and ${file.from}: they say the same thing; remove one`);
    return undefined;
  }
  if (file === undefined) return itself;
  try {
    return { written: readFileSync(String(file.written), 'utf8').trim(), from: `the file that ${file.from} names` };
  } catch (error) {
    problems.push(`Cannot read '${String(file.written)}' from ${file.from}: ${reasonOf(error)}`);
    return undefined;
  }
}

function refuseUnknownKeys<Table>(
  definition: ConfigDefinition<Table>,
  file: Map<string, Found>,
  problems: string[],
): void {
  const known = new Set(
    definition.options.flatMap(({ flag, option }) => (option.secret ? [flag, `${flag}-file`] : [flag])),
  );
  for (const [flag, found] of file) {
    if (known.has(flag)) continue;
    problems.push(`Cannot use ${found.from}: ${definition.command} has no such option; its --help lists them`);
  }
}

async function readConfigFile(path: string, from: string): Promise<Map<string, Found>> {
  const content = await parseConfigFile(path, from);
  if (content === null || content === undefined) return new Map();
  if (typeof content !== 'object' || Array.isArray(content)) {
    throw new ConfigError([
      `Cannot use the file '${path}' from ${from}: expected names with values, for example cluster: main`,
    ]);
  }
  const entries = Object.entries(content).filter(([, written]) => written !== null && written !== undefined);
  return new Map(
    entries.map(([name, written]) => [name.replaceAll('_', '-'), { written, from: `file ${path}: ${name}` }]),
  );
}

async function parseConfigFile(path: string, from: string): Promise<unknown> {
  try {
    const source = readFileSync(path, 'utf8');
    if (path.endsWith('.json')) return JSON.parse(source);
    const yaml = await import('yaml');
    return yaml.parse(source);
  } catch (error) {
    throw new ConfigError([`Cannot read the file '${path}' from ${from}: ${reasonOf(error)}`], { cause: error });
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file; correct the path';
  if (code === 'EACCES') return 'it may not be read by this user; change its owner or mode';
  return `${message.trim()}; correct it`;
}
