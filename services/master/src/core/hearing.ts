import type { Input } from './messages.ts';
import type { State } from './state.ts';

/** Two heartbeats: one that is late by itself says nothing about this master. An allocator says something every second. */
const deafAfterMs = ({ config }: State): number => Math.max(config.agentPingTimeoutMs * 2, 2_000);

const fromOthers: ReadonlySet<Input['kind']> = new Set<Input['kind']>([
  'scheduler_call',
  'agent_request',
  'heartbeat',
  'commands_answered',
  'allocator_request',
  'operator_call',
]);

/**
 * Whether this master can hear: nobody's silence counts while it cannot, nor before it could again. Anybody's word shows
 * it, an allocator's too. Were it the words of agents alone, a cluster whose agents have all died would wait for ever;
 * agents that live and are cut off from this master alone are unreachable indeed, and bring their tasks back.
 */
export function noteHearing(state: State, at: number, input: Input): void {
  if (!fromOthers.has(input.kind) && !(input.kind === 'stream_probed' && input.alive)) return;
  if (isDeaf(state, at)) state.silenceFloorMs = at;
  state.heardMs = at;
}

/** Cut off, frozen, or without a word from anybody: it had better doubt itself. */
export const isDeaf = (state: State, at: number): boolean =>
  !state.busConnected || at - state.heardMs >= deafAfterMs(state);
