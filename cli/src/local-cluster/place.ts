import type { Program } from './supervised.ts';

/** Where a process of the cluster runs. */
export interface Place {
  /** The address that the others reach it by. */
  readonly host: string;
  /** The command that runs another one there, for example `['ip', 'netns', 'exec', 'agent-1']`; empty: right here. */
  readonly command: readonly string[];
}

export const thisMachine: Place = { host: '127.0.0.1', command: [] };

/** The program, run in its place. The command of the place must become the program, so that signals reach it. */
export function within({ command: [wrapper, ...rest] }: Place, program: Program): Program {
  if (wrapper === undefined) return program;
  return { ...program, command: wrapper, args: [...rest, program.command, ...program.args] };
}
