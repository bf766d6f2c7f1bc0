import { Command, CommanderError, Option as CommandOption } from 'commander';
import { ConfigError, TextWanted } from './config-error.ts';
import type { ConfigDefinition, NamedOption } from './define-config.ts';
import { version } from './version.ts';

/**
 * What was written on the command line, by flag. A flag may be written with `_` for `-`, as Mesos does.
 *
 * @throws {ConfigError} a flag that does not exist or lacks its value
 * @throws {TextWanted} for `--help` and `--version`
 */
export function parseFlags<Table>(
  definition: ConfigDefinition<Table>,
  args: readonly string[],
): ReadonlyMap<string, unknown> {
  let printed = '';
  const command = new Command(definition.command)
    .description(definition.summary)
    .version(version, '--version', 'print the version')
    .helpOption('--help', 'print this')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => {
        printed += text;
      },
      writeErr: () => undefined,
    });
  const flagOf = new Map<string, string>();
  for (const option of commandOptions(definition)) {
    command.addOption(option);
    flagOf.set(option.attributeName(), option.long?.replace(/^--(no-)?/, '') ?? '');
  }
  try {
    command.parse(args.map(withDashes), { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) throw new TextWanted(printed);
    throw asConfigError(definition.command, error);
  }
  return new Map(
    Object.entries(command.opts()).map(([attribute, given]) => [flagOf.get(attribute) ?? attribute, given]),
  );
}

function withDashes(arg: string): string {
  const [name = ''] = /^--[^=\s]+/.exec(arg) ?? [];
  return name.replaceAll('_', '-') + arg.slice(name.length);
}

function commandOptions<Table>(definition: ConfigDefinition<Table>): CommandOption[] {
  const config = new CommandOption('--config <file>', 'a YAML or JSON file with the same names [env MESOBUS_CONFIG]');
  return [config, ...definition.options.flatMap(optionsFor)];
}

function optionsFor({ flag, env, option }: NamedOption): CommandOption[] {
  const fallback = Array.isArray(option.fallback) ? option.fallback.join(',') : option.fallback;
  const standard =
    fallback === undefined ? [] : [`default ${typeof fallback === 'object' ? JSON.stringify(fallback) : fallback}`];
  const required = fallback === undefined && !option.optional ? ['required'] : [];
  const help = `${option.help} [${[...required, ...standard, `env ${env.join(', ')}`].join('; ')}]`;
  if (option.shape === 'switch') {
    return [new CommandOption(`--${flag} [${option.placeholder}]`, help), new CommandOption(`--no-${flag}`).hideHelp()];
  }
  const main = new CommandOption(`--${flag} <${option.placeholder}>`, help);
  if (option.shape === 'list') {
    main.argParser((given: string, before: string | undefined) =>
      before === undefined ? given : `${before},${given}`,
    );
  }
  if (!option.secret) return [main];
  const file = new CommandOption(`--${flag}-file <file>`, `a file that holds it [env ${env[0]}_FILE]`);
  return [main, file];
}

function asConfigError(command: string, error: unknown): unknown {
  if (!(error instanceof CommanderError)) return error;
  const said = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  return new ConfigError([`Cannot read the command line: ${said}; ${command} --help lists the flags`], {
    cause: error,
  });
}
