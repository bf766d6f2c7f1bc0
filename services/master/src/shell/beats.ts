import { mesobus, type mesos } from '@mesobus/protos';
import type { Bus, Subjects } from '@mesobus/sdk/bus';

type Phase = mesobus.v1.LeaderBeat.Phase;
const { LEADING, FROZEN } = mesobus.v1.LeaderBeat.Phase;

export interface BeatContent {
  readonly phase: Phase;
  readonly lastIndex: number;
  /** How many agents are expected: they spread their registrations in proportion. */
  readonly agents: number;
  /** How many schedulers: they spread their subscriptions. */
  readonly frameworks: number;
  /** Of the master; empty: none. */
  readonly region: string;
}

/** Tells everybody that this master leads, or is about to, or does no more. */
export function sayBeat(bus: Bus, subjects: Subjects, masterId: string, content: BeatContent): void {
  if (!bus.connected) return;
  const { lastIndex, ...rest } = content;
  bus.publish(subjects.leader, { masterId, lastLogIndex: lastIndex, ...rest });
}

/** Whether a master that says so serves, now that it has begun to. */
export const isServing = (phase: Phase): boolean => phase === LEADING || phase === FROZEN;

export const regionOf = ({ domain }: mesos.v1.MasterInfo.$Properties): string =>
  domain?.faultDomain?.region?.name ?? '';
