import type { mesobus } from '@mesobus/protos';
import type { RefusalCode } from '@mesobus/sdk/errors';
import type { Token, When } from './messages.ts';
import type { State } from './state.ts';
import { Turn } from './turn.ts';

/** What an agent sent. */
export interface AgentSender {
  readonly agentName: string;
  readonly request: mesobus.v1.AgentRequest;
  readonly token: Token;
}

/** An agent's request being handled. */
export class AgentTurn extends Turn {
  readonly agentName: string;
  readonly request: mesobus.v1.AgentRequest;
  readonly token: Token;

  constructor(state: State, at: number, { agentName, request, token }: AgentSender) {
    super(state, at);
    this.agentName = agentName;
    this.request = request;
    this.token = token;
  }

  answer(when: When, reply: mesobus.v1.AgentReply.$Properties): void {
    this.emit({ kind: 'answer_agent', when, token: this.token, reply });
  }

  refuse(code: RefusalCode, subject: string, why?: string, when: When = 'now'): void {
    const reason = why !== undefined && { why };
    this.emit({ kind: 'refuse', when, token: this.token, code, subject, ...reason });
  }
}
