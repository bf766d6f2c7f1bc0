import { mesobus } from '@mesobus/protos';
import { obey } from './obey.ts';
import { scheduleRegistration, spreadMs } from './register.ts';
import { compareEpochs, type Epoch } from './state.ts';
import { roll, type Turn } from './turn.ts';

/** Somebody says that it leads, or is about to. */
export function onBeat(turn: Turn, epoch: Epoch, phase: mesobus.v1.LeaderBeat.Phase): void {
  const { state } = turn;
  if (!state.recovered || !obey(turn, epoch)) return;
  if (phase !== mesobus.v1.LeaderBeat.Phase.LEADING) return;
  const { registration } = state;
  const isNews = registration.kind === 'registered' && compareEpochs(epoch, registration.epoch) > 0;
  const wasAbsent = registration.kind === 'waiting' && registration.absences > 0;
  // All agents hear this at once: each takes its own moment.
  if (isNews || (wasAbsent && registration.nextAt > turn.at + spreadMs)) {
    scheduleRegistration(turn, roll(state) * spreadMs);
  }
}
