import type { FrameworkEntry } from '@mesobus/registry/core';
import type { RefusalCode } from '@mesobus/sdk/errors';
import type { Token, When } from './messages.ts';
import type { Call, State } from './state.ts';
import { idsIn } from './traces.ts';
import { Turn } from './turn.ts';

/** Who calls, and what with. */
export interface Caller {
  readonly principal: string;
  readonly call: Call;
  readonly token: Token;
}

/** A scheduler's call being handled, before it is known whose it is. */
export class CallerTurn extends Turn {
  readonly principal: string;
  readonly call: Call;
  readonly token: Token;

  constructor(state: State, at: number, { principal, call, token }: Caller) {
    super(state, at);
    this.principal = principal;
    this.call = call;
    this.token = token;
  }

  get traceparent(): string {
    return this.call.traceparent;
  }

  override log(...[level, message, fields]: Parameters<Turn['log']>): void {
    super.log(level, message, { ...fields, ...idsIn(this.traceparent) });
  }

  refuse(code: RefusalCode, subject: string, why?: string, when: When = 'now'): void {
    const { token } = this;
    const { callId } = this.call;
    this.emit({ kind: 'refuse_call', when, token, callId, code, subject, ...(why !== undefined && { why }) });
  }

  /** @param durable - the call changed, or had changed, something in the log */
  accept(when: When, durable: boolean, subscribed?: { frameworkId: string; generation: number }): void {
    const { token } = this;
    const { callId } = this.call;
    this.emit({ kind: 'accept_call', when, token, callId, durable, ...subscribed });
  }
}

/** A call of a framework that is subscribed, by the scheduler that may speak for it. */
export class CallTurn extends CallerTurn {
  readonly framework: FrameworkEntry;

  constructor(state: State, at: number, caller: Caller, framework: FrameworkEntry) {
    super(state, at, caller);
    this.framework = framework;
  }
}
