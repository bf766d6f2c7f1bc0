import { invariant } from '../errors.ts';
import { type CommonOptions, commonOptions } from './common-options.ts';
import type { Option } from './option.ts';

/** The options of a service by key; the key in camelCase gives flag, variable and the name in the file. */
export type OptionTable = Readonly<Record<string, Option<unknown>>>;

/** What a table of options gives when it is read. */
export type ConfigOf<Table> = { readonly [Key in keyof Table]: Table[Key] extends Option<infer Value> ? Value : never };

/** Where one option is looked for. */
export interface NamedOption {
  readonly key: string;
  /** Without dashes in front: `agent-ping-timeout`; also its name in the file. */
  readonly flag: string;
  /** `MESOBUS_AGENT_PING_TIMEOUT`, then others; the first that is set counts. */
  readonly env: readonly string[];
  readonly option: Option<unknown>;
}

/** A checked table with the common options in it; give it to `loadConfig`. */
export interface ConfigDefinition<Table> {
  /** The command: `mesobus-master`. */
  readonly command: string;
  readonly summary: string;
  readonly options: readonly NamedOption[];
  /** Carries the type only. */
  readonly table?: Table;
}

const kebab = (camel: string): string => camel.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

function flagOf(key: string, option: Option<unknown>): string {
  const unit = { duration: /Ms$/, size: /Bytes$/ }[option.placeholder];
  return option.flag ?? kebab(unit === undefined ? key : key.replace(unit, ''));
}

export const envOf = (flag: string): string => `MESOBUS_${flag.replaceAll('-', '_').toUpperCase()}`;

/**
 * Declares the options of a service, once: from this table come flags, `--help`, environment, file and types.
 *
 * @throws {InvariantError} the table contradicts itself: a flag twice, or a default that its own option refuses
 */
export function defineConfig<Table extends OptionTable>(declared: {
  readonly command: string;
  readonly summary: string;
  readonly options: Table;
}): ConfigDefinition<CommonOptions & Table> {
  const { command, summary } = declared;
  const taken = new Set(['config', 'help', 'version']);
  const options = Object.entries({ ...declared.options, ...commonOptions }).map(([key, option]): NamedOption => {
    const flag = flagOf(key, option);
    const flags = option.secret ? [flag, `${flag}-file`] : [flag];
    for (const one of flags) invariant(!taken.has(one), `the options of ${command} declare --${one} twice`);
    for (const one of flags) taken.add(one);
    const ownKey = !Object.hasOwn(commonOptions, key) || !Object.hasOwn(declared.options, key);
    invariant(ownKey, `the options of ${command} redeclare the common option ${key}`);
    const sound = option.fallback === undefined || option.read(option.fallback).ok;
    invariant(sound, `the default of --${flag} of ${command} is not what the option itself accepts`);
    return { key, flag, env: [envOf(flag), ...option.otherEnv], option };
  });
  return { command, summary, options };
}
