import type { DiskRoom } from './state.ts';
import { log, type Turn } from './turn.ts';

const said: Readonly<Record<DiskRoom, readonly ['warn' | 'error', string]>> = {
  roomy: ['warn', 'There is room on the disk again: tasks are started again'],
  low: ['error', 'The disk is full: no task is started until there is room; those that run are looked after'],
  full: ['error', 'The disk is full, and so is what was set aside for this: nothing is obeyed until there is room'],
};

/** The journal found no room for what it had to write, or finds some again. */
export function onDisk(turn: Turn, room: DiskRoom): void {
  if (room === turn.state.room) return;
  turn.state.room = room;
  log(turn, ...said[room]);
}
