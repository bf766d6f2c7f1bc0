import type { mesobus } from '@mesobus/protos';
import type { Clock } from '@mesobus/sdk/bus';
import { RefusedError } from '@mesobus/sdk/errors';
import type { InnerProcess } from '../containerizer.ts';
import { Session } from './session.ts';

/** At one time, of all who ask. */
const maxSessions = 128;
/** A session of which nothing is heard for so long is over, and so is its command. */
const silenceMs = 15_000;
const lookMs = 1_000;

type Kind = 'exec' | 'attach';

/** Enters a container as a request to start says. Throws a RefusedError with why not. */
export type Enter = (principal: string, request: mesobus.v1.SessionRequest) => Entered;

export interface Entered {
  readonly process: InnerProcess;
  /** Its input is what whoever asked sends. */
  readonly interactive: boolean;
  /** Throws a RefusedError if whoever asked may be there no more. */
  readonly check: () => void;
}

/** The sessions of an agent: commands in containers, and who is attached to one. They end with this process. */
export class Sessions {
  readonly #clock: Clock;
  readonly #enter: Enter;
  readonly #open = new Map<string, Session>();
  #cancelLook: (() => void) | undefined;

  constructor(clock: Clock, enter: Enter) {
    this.#clock = clock;
    this.#enter = enter;
  }

  /**
   * @param principal - whose it is: nobody else is answered
   * @throws {RefusedError} session_unknown, call_invalid, overloaded, not_authorized, or why a container cannot be entered
   */
  async answer(
    kind: Kind,
    principal: string,
    request: mesobus.v1.SessionRequest,
  ): Promise<mesobus.v1.SessionReply.$Properties> {
    const key = JSON.stringify([kind, principal, request.sessionId]);
    if (kind === 'exec' ? request.start : request.attach) return this.#start(key, principal, request);
    const session = this.#open.get(key);
    if (session === undefined) throw new RefusedError('session_unknown', request.sessionId);
    this.#checkStill(key, session);
    session.heardAt = this.#clock.now();
    if (request.read) return { output: await session.read(request.read.received, request.read.waitMs) };
    if (request.write) return { input: { number: await session.write(request.write) } };
    if (request.resize) session.resize(request.resize);
    else if (request.close) this.#end(key, session);
    else if (!request.keep) throw new RefusedError('call_invalid', request.sessionId, 'it asks for nothing');
    return { done: {} };
  }

  /** Ends them all, with their commands. */
  close(): void {
    for (const [key, session] of this.#open) this.#end(key, session);
    this.#cancelLook?.();
  }

  /** What was allowed when it began may not be any more. */
  #checkStill(key: string, session: Session): void {
    try {
      session.check();
    } catch (error) {
      this.#end(key, session);
      throw error;
    }
  }

  /** A start that is repeated finds the session. */
  #start(key: string, principal: string, request: mesobus.v1.SessionRequest): mesobus.v1.SessionReply.$Properties {
    if (request.sessionId === '') throw new RefusedError('call_invalid', 'session_id', 'it is empty');
    if (this.#open.has(key)) return { done: {} };
    if (this.#open.size >= maxSessions) {
      throw new RefusedError('overloaded', request.sessionId, `${maxSessions} sessions are open on this agent`);
    }
    this.#open.set(key, new Session(this.#enter(principal, request), this.#clock));
    this.#cancelLook ??= this.#clock.after(lookMs, () => this.#look());
    return { done: {} };
  }

  /** Ends those of whom nobody speaks any more. */
  #look(): void {
    const silentSince = this.#clock.now() - silenceMs;
    for (const [key, session] of this.#open) if (session.heardAt < silentSince) this.#end(key, session);
    this.#cancelLook = this.#open.size === 0 ? undefined : this.#clock.after(lookMs, () => this.#look());
  }

  #end(key: string, session: Session): void {
    session.end();
    this.#open.delete(key);
  }
}
