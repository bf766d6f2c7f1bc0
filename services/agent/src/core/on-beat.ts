import { mesobus } from '@mesobus/protos';
import { obey } from './obey.ts';
import { ownDelayMs } from './register.ts';
import { compareEpochs, type Epoch } from './state.ts';
import type { Turn } from './turn.ts';

/** Somebody says that it leads, or is about to. */
export function onBeat(turn: Turn, epoch: Epoch, beat: mesobus.v1.LeaderBeat.$Properties): void {
  const { state } = turn;
  if (!state.recovered || !obey(turn, epoch)) return;
  state.expectedAgents = beat.agents ?? 0;
  if (beat.phase !== mesobus.v1.LeaderBeat.Phase.LEADING) return;
  const { registration } = state;
  const isNews = registration.kind === 'registered' && compareEpochs(epoch, registration.epoch) > 0;
  const wasAbsent = registration.kind === 'waiting' && registration.absences > 0;
  if (!isNews && !wasAbsent) return;
  // All agents hear this at once: each takes its own moment, and only once.
  state.registration = { kind: 'waiting', nextAt: turn.at + ownDelayMs(turn), attempts: 0, absences: 0 };
}
