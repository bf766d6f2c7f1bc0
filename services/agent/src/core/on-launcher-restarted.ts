import { type Contained, isBuiltIn, isLive } from './state.ts';
import type { Turn } from './turn.ts';

/** Whatever the dead launcher was told may not have happened, and nobody reports what becomes of what did. */
export function onLauncherRestarted({ state, effects }: Turn): void {
  const starting: Contained[] = [];
  const executors = [...state.executors.values()].filter((executor) => !isBuiltIn(executor));
  for (const launch of [...state.byContainer.values(), ...executors]) {
    if (!isLive(launch) || launch.phase === 'accepted') continue;
    state.watched.add(launch);
    if (launch.phase === 'starting') starting.push(launch);
  }
  if (starting.length === 0) return;
  for (const { containerId } of starting) effects.push({ kind: 'control', containerId, control: { kind: 'report' } });
  effects.push({ kind: 'probe', containerIds: starting.map(({ containerId }) => containerId) });
}
