/** A leader of which neither log nor beat has shown anything for so long may be gone: four renewals and four beats. */
export const goneAfterMs = 1_200;
/** From half of that on the standby asks whether anybody serves the leader's subjects. */
const probeAfterMs = 600;
const probeEveryMs = 300;
/** So many probes in a row found nobody. */
const probesNeeded = 3;

/**
 * What a standby has seen of the leader: in the log, by its beats, and by probes of the subjects that only a leader
 * serves. Time in which the standby itself was cut off proves nothing.
 */
export interface Evidence {
  /** Without a witness there are neither beats nor probes, and the leader is never taken to be gone. */
  readonly witnessed: boolean;
  connected: boolean;
  /** When the leader was last seen or heard, or the standby began to look. */
  heardAt: number;
  /** The leader serves: until then it may be busy becoming one, and is left alone. */
  announced: boolean;
  /** Probes that found nobody since the leader was heard. */
  nobody: number;
  /** Of the probe that is under way or was the last: answers to earlier ones count for nothing. */
  probe: number;
  probing: boolean;
  probeAt: number;
}

export const createEvidence = (at: number, witnessed: boolean): Evidence => ({
  witnessed,
  connected: true,
  heardAt: at,
  announced: false,
  nobody: 0,
  probe: 0,
  probing: false,
  probeAt: at,
});

/** The leader was seen or heard, or the looking begins anew: what was found before counts for nothing. */
export function hear(evidence: Evidence, at: number): void {
  evidence.heardAt = at;
  evidence.nobody = 0;
  evidence.probing = false;
  evidence.probeAt = at + probeAfterMs;
}

export function onProbed(evidence: Evidence, at: number, probe: number, answer: 'nobody' | 'unknown'): void {
  if (!evidence.probing || probe !== evidence.probe) return;
  evidence.probing = false;
  evidence.nobody = answer === 'nobody' ? evidence.nobody + 1 : 0;
  evidence.probeAt = at + probeEveryMs;
}

/** The number of the probe that is due, which has thereby begun. */
export function takeProbe(evidence: Evidence, at: number): number | undefined {
  if (!mayBeGone(evidence) || evidence.probing || isProven(evidence) || at < evidence.probeAt) return undefined;
  evidence.probing = true;
  evidence.probe += 1;
  return evidence.probe;
}

export const isGone = (evidence: Evidence, at: number): boolean =>
  mayBeGone(evidence) && isProven(evidence) && at >= evidence.heardAt + goneAfterMs;

/** When to look again; undefined while something must be heard first. */
export function nextLookAt(evidence: Evidence): number | undefined {
  if (!mayBeGone(evidence) || evidence.probing) return undefined;
  return isProven(evidence) ? evidence.heardAt + goneAfterMs : evidence.probeAt;
}

const mayBeGone = ({ witnessed, connected, announced }: Evidence): boolean => witnessed && connected && announced;
const isProven = ({ nobody }: Evidence): boolean => nobody >= probesNeeded;
