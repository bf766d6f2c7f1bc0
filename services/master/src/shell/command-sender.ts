import type { mesobus } from '@mesobus/protos';
import type { Bus, BusLogger, Subjects } from '@mesobus/sdk/bus';
import { NoRespondersError } from '@mesobus/sdk/errors';

const timeoutMs = 5_000;
/** Commands in one request, at most. */
const commandsPerRequest = 200;

interface Waiting {
  readonly agentId: string;
  readonly incarnation: string;
  readonly commands: mesobus.v1.AgentCommand.$Properties[];
}

export interface CommandSenderOptions {
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly log: BusLogger;
  /** Everything up to the cursor is on the agent's disk. */
  onAnswered(agentId: string, incarnation: string, cursor: number): void;
}

/**
 * Sends commands to agents, in order. What one agent gets in the same moment, the acknowledgements that an entry of the log
 * has released above all, goes in one request. What gets no answer is sent again by the core.
 */
export class CommandSender {
  readonly #options: CommandSenderOptions;
  /** By the agent's name. */
  readonly #waiting = new Map<string, Waiting[]>();
  #stopped = false;

  constructor(options: CommandSenderOptions) {
    this.#options = options;
  }

  send(agentName: string, message: mesobus.v1.AgentCommands.$Properties): void {
    const { agentId, incarnation, commands } = message;
    const next = { agentId: agentId ?? '', incarnation: incarnation ?? '', commands: [...(commands ?? [])] };
    if (this.#waiting.size === 0) queueMicrotask(() => this.#flush());
    const before = this.#waiting.get(agentName);
    const last = before?.at(-1);
    if (before === undefined) this.#waiting.set(agentName, [next]);
    else if (last !== undefined && fits(last, next)) last.commands.push(...next.commands);
    else before.push(next);
  }

  stop(): void {
    this.#stopped = true;
  }

  #flush(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [agentName, messages] of waiting) for (const message of messages) this.#request(agentName, message);
  }

  #request(agentName: string, message: Waiting): void {
    if (this.#stopped) return;
    const { bus, subjects, log, onAnswered } = this.#options;
    const { agentId, incarnation } = message;
    bus.request(subjects.agent.of(agentName), message, { timeoutMs }).then(
      ({ message: { cursor } }) => {
        if (!this.#stopped) onAnswered(agentId, incarnation, cursor);
      },
      (error: unknown) => {
        const expected = error instanceof NoRespondersError || this.#stopped;
        if (!expected) log.info({ err: error, agent: agentName }, 'an agent has not confirmed commands');
      },
    );
  }
}

const fits = (last: Waiting, next: Waiting): boolean =>
  last.agentId === next.agentId &&
  last.incarnation === next.incarnation &&
  last.commands.length + next.commands.length <= commandsPerRequest;
