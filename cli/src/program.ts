import { DeadlineError, NoRespondersError } from '@mesobus/sdk/errors';
import { version } from '@mesobus/sdk/service';
import { Command, CommanderError } from 'commander';
import { CommandError } from './command-error.ts';
import { agentCommand } from './commands/agent-command.ts';
import { authCommand } from './commands/auth-command.ts';
import { backupCommands } from './commands/backup-commands.ts';
import { changeCommands } from './commands/change-commands.ts';
import { containerCommands } from './commands/container-commands.ts';
import { doctorCommand } from './commands/doctor-command.ts';
import { downCommand } from './commands/down-command.ts';
import { listCommands } from './commands/list-commands.ts';
import { maintenanceCommand } from './commands/maintenance-command.ts';
import { withJson } from './commands/options.ts';
import { quotaCommand } from './commands/quota-command.ts';
import { reserveCommands } from './commands/reserve-commands.ts';
import { runCommand } from './commands/run-command.ts';
import { sandboxCommands } from './commands/sandbox-commands.ts';
import { topCommand } from './commands/top-command.ts';
import { traceCommand } from './commands/trace-command.ts';
import { upCommand } from './commands/up-command.ts';
import { whyCommands } from './commands/why-commands.ts';
import { type Streams, writeJson, writeTo } from './output/streams.ts';

/**
 * The `mesobus` command.
 *
 * @param args - without node and the program
 * @returns the exit code: 2 for a command line that cannot be used, 1 for what fails, and what `run` makes of its tasks
 */
export async function runProgram(args: readonly string[], streams: Streams): Promise<number> {
  let exitCode = 0;
  const program = createProgram(streams, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    await writeTo(streams.err, `mesobus: ${describe(error)}\n`).catch(() => undefined); // the exit code tells, too
    return error instanceof CommandError ? error.exitCode : 1;
  }
}

function createProgram(streams: Streams, exit: (code: number) => void): Command {
  const program = new Command('mesobus')
    .description('Run a Mesobus cluster, run things on it, and look at it.')
    .enablePositionalOptions()
    .version(version, '-V, --version', 'print the version');
  const versionCommand = withJson(new Command('version'))
    .description('print the version')
    .action(async (flags: { json?: boolean }) => {
      const about = { version, node: process.version };
      if (flags.json === true) await writeJson(streams, about);
      else await writeTo(streams.out, `mesobus ${version} (node ${process.version})\n`);
    });
  const commands = [
    upCommand(streams, exit),
    downCommand(streams),
    doctorCommand(streams, exit),
    runCommand(streams, exit),
    ...listCommands(streams),
    ...whyCommands(streams),
    ...changeCommands(streams),
    ...backupCommands(streams),
    agentCommand(streams),
    authCommand(streams),
    quotaCommand(streams),
    maintenanceCommand(streams),
    ...reserveCommands(streams),
    ...sandboxCommands(streams),
    ...containerCommands(streams, exit),
    topCommand(streams),
    traceCommand(streams),
    versionCommand,
  ];
  for (const command of commands) program.addCommand(command);
  for (const command of [program, ...commands, ...commands.flatMap(({ commands: below }) => below)]) {
    command
      .exitOverride()
      .allowExcessArguments(false)
      .showHelpAfterError(`(${pathOf(command)} --help says more)`)
      .configureOutput({
        writeOut: (text) => void streams.out.write(text),
        writeErr: (text) => void streams.err.write(text.replace(/^error: /, 'mesobus: ')),
      });
  }
  return program;
}

const pathOf = (command: Command): string =>
  command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();

/** Errors of ours say everything themselves; a stack is of use only for those that are nobody's intention. */
function describe(error: unknown): string {
  if (error instanceof NoRespondersError || error instanceof DeadlineError) {
    return `${error.message}\n${whoIsMissing(error.subject)}`;
  }
  if (!(error instanceof Error)) return String(error);
  const isBug = error instanceof TypeError || error instanceof ReferenceError;
  return isBug ? (error.stack ?? error.message) : error.message;
}

/** `mesobus.<cluster>.<service>.…` */
function whoIsMissing(subject: string): string {
  const [, cluster, service = 'service'] = subject.split('.');
  const who = service === 'master' ? 'a master that leads' : `its ${service}`;
  return `NATS answers but the cluster '${cluster}' does not: does ${who} run, and is it called so (--cluster)?`;
}
