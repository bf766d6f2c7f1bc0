import { compareEpochs, type Epoch } from './state.ts';
import { append, type Turn } from './turn.ts';

/** Whether to obey a master of this epoch: only the highest is obeyed, and that is journaled. */
export function obey(turn: Turn, epoch: Epoch): boolean {
  const order = compareEpochs(epoch, turn.state.obeyed);
  if (order > 0) {
    append(turn, { masterObeyed: { epoch: epoch.epoch, clusterIncarnation: epoch.incarnation } });
    turn.state.answerPosition = turn.state.appended;
  }
  return order >= 0;
}
