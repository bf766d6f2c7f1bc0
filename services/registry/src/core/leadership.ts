import { encode, mesobus } from '@mesobus/protos';
import { createEvidence, type Evidence, hear, isGone, nextLookAt, onProbed, takeProbe } from './evidence.ts';
import type { Ledger } from './ledger.ts';
import type { LogReader, LogReaderEffect } from './log-reader.ts';
import { ledgerVersion, maxRetryMs, retryMs } from './log-writer.ts';

/** How long a leader may be silent before another takes over: longer than JetStream's own leader change. */
export const defaultLeaseMs = 15_000;
/** A leader whose writes have not been confirmed for so long accepts nothing new. */
const freezeAfterMs = 10_000;
/** Added to the lease, so that standbys do not all campaign at once. */
export const maxSpreadMs = 2_000;
/** What this code can do that a cluster may demand of its masters, by name; see ClusterRecord.minimum_capabilities. */
export const masterCapabilities: readonly string[] = [];

export interface CampaignOptions {
  /** Unique per campaign. */
  readonly masterId: string;
  readonly leaseMs: number;
  /** From 0 to {@link maxSpreadMs}; drawn by the shell. */
  readonly spreadMs: number;
  readonly at: number;
  /** Whether beats and probes are to be had: without them a leader is replaced after its lease only. */
  readonly witnessed: boolean;
  /** For so long this master replaces nobody but itself: it lost the log lately. */
  readonly pauseMs: number;
  /** The id under which it held the log; empty if it never did. */
  readonly formerId: string;
  readonly capabilities: readonly string[];
}

export type CampaignInput =
  | { readonly kind: 'tick' }
  /** What the reader made of a message. */
  | { readonly kind: 'read'; readonly effect: LogReaderEffect }
  /** The reader has read all that stood in the bucket when it began. */
  | { readonly kind: 'caught_up' }
  /** The reading begins anew: it is behind until it has caught up again. */
  | { readonly kind: 'restarted' }
  /** The shell's answer to `campaign`. Written, refused or unknown: the reader shows who won. */
  | { readonly kind: 'campaign_ended' }
  /** A master says that it is there; `leading`: and that it serves. */
  | { readonly kind: 'beat'; readonly masterId: string; readonly leading: boolean }
  /** The shell's answer to `probe`: a server has said that nobody serves the leader's subject, or anything else. */
  | { readonly kind: 'probed'; readonly probe: number; readonly answer: 'nobody' | 'unknown' }
  /** The standby's own connection. */
  | { readonly kind: 'connection'; readonly connected: boolean };

export type CampaignEffect =
  /** Write `bytes` to `leader` if the bucket's last sequence is the expected one: if nothing stirs that was not read. */
  | { readonly kind: 'campaign'; readonly bytes: Uint8Array; readonly expectedSequence: number }
  /** Ask whether anybody serves the leader's subjects. */
  | { readonly kind: 'probe'; readonly probe: number }
  /** Our own record was read, and with it everything before it: a writer may begin. */
  | { readonly kind: 'won'; readonly incarnation: number; readonly epoch: number; readonly sequence: number }
  /** This master can never lead over this log. */
  | { readonly kind: 'unfit'; readonly why: string };

/** Who has read the log so far, and what it adds up to. */
export interface CampaignReading {
  readonly reader: LogReader;
  readonly ledger: Pick<Ledger, 'cluster'>;
}

/**
 * Wins the right to append: a compare-and-set on the bucket's last sequence, then reading up to our own record. Its
 * sequence is the last one, so whoever led before is refused from then on. That makes it safe at any time; when to do
 * it is a question of not replacing a leader without need. A standby that slept and has yet to read what was written
 * meanwhile is refused.
 */
export interface Campaign {
  readonly options: CampaignOptions;
  readonly reading: CampaignReading;
  readonly evidence: Evidence;
  phase: 'following' | 'campaigning' | 'ended';
  caughtUp: boolean;
  /** By the latest record: who leads, in which incarnation and epoch. */
  holder: string;
  /** When the log last showed a sign of its leader. */
  seenAt: number;
  /** A campaign that failed is not repeated before. */
  notBefore: number;
  failures: number;
}

export const createCampaign = (options: CampaignOptions, reading: CampaignReading): Campaign => ({
  options,
  reading,
  evidence: createEvidence(options.at, options.witnessed),
  phase: 'following',
  caughtUp: false,
  holder: '',
  seenAt: options.at,
  notBefore: options.at,
  failures: 0,
});

/** Feed the reader first, then pass on each of its effects. */
export function stepCampaign(campaign: Campaign, at: number, input: CampaignInput): CampaignEffect[] {
  if (campaign.phase === 'ended') return [];
  const { evidence } = campaign;
  switch (input.kind) {
    case 'read':
      return onRead(campaign, at, input.effect);
    case 'campaign_ended':
      onCampaignEnded(campaign, at);
      break;
    case 'caught_up':
      campaign.caughtUp = true;
      break;
    case 'restarted':
      campaign.caughtUp = false;
      break;
    case 'beat':
      if (input.masterId !== campaign.reading.reader.leader?.record.masterId) break;
      hear(evidence, at);
      evidence.announced ||= input.leading;
      break;
    case 'probed':
      onProbed(evidence, at, input.probe, input.answer);
      break;
    case 'connection':
      evidence.connected = input.connected;
      campaign.seenAt = at; // the silence of before was perhaps our own
      hear(evidence, at);
      break;
    case 'tick':
  }
  return act(campaign, at);
}

/** When the next tick is due; undefined while only another input can change anything. */
export function nextCampaignAt(campaign: Campaign): number | undefined {
  if (!mayAct(campaign)) return undefined;
  const leaseEndsAt = dueAt(campaign);
  const lookAt = isHeld(campaign) ? nextLookAt(campaign.evidence) : undefined;
  return lookAt === undefined ? leaseEndsAt : Math.min(leaseEndsAt, Math.max(lookAt, mayReplaceAt(campaign)));
}

function onRead(campaign: Campaign, at: number, effect: LogReaderEffect): CampaignEffect[] {
  if (effect.kind === 'stopped') return unfit(campaign, effect.why);
  campaign.seenAt = at;
  hear(campaign.evidence, at);
  if (effect.kind === 'leader') {
    const { masterId, clusterIncarnation: incarnation, epoch, renewal } = effect.record;
    if (masterId === campaign.options.masterId) {
      campaign.phase = 'ended';
      return [{ kind: 'won', incarnation, epoch, sequence: effect.sequence }];
    }
    const holder = `${incarnation} ${epoch} ${masterId}`;
    // A leader serves before it renews or appends.
    campaign.evidence.announced = renewal > 0 || (campaign.evidence.announced && holder === campaign.holder);
    campaign.holder = holder;
  } else if (effect.kind === 'entry') campaign.evidence.announced = true;
  return act(campaign, at); // a leader that resigned is replaced at once
}

/** A record that was written may be overwritten, or lost with its server, before it is read: it is not waited for. */
function onCampaignEnded(campaign: Campaign, at: number): void {
  const { spreadMs } = campaign.options;
  campaign.phase = 'following';
  const pauseMs = Math.min(maxRetryMs, retryMs * 2 ** Math.min(campaign.failures, 10));
  campaign.notBefore = at + pauseMs * (1 + spreadMs / maxSpreadMs);
  campaign.failures += 1;
}

function act(campaign: Campaign, at: number): CampaignEffect[] {
  if (!mayAct(campaign)) return [];
  if (at >= dueAt(campaign)) return begin(campaign);
  if (!isHeld(campaign) || at < mayReplaceAt(campaign)) return [];
  if (isGone(campaign.evidence, at)) return begin(campaign);
  const probe = takeProbe(campaign.evidence, at);
  return probe === undefined ? [] : [{ kind: 'probe', probe }];
}

/**
 * What is written while the connection is away would go out on its return, when it is long out of date. Whoever waits
 * for a snapshot does not know what stands in the log; perhaps a backup is being restored.
 */
const mayAct = ({ phase, caughtUp, evidence, reading }: Campaign): boolean =>
  phase === 'following' && caughtUp && evidence.connected && reading.reader.wanted === undefined;

function begin(campaign: Campaign): CampaignEffect[] {
  const { reading, options } = campaign;
  const problem = whyUnfit(campaign);
  if (problem !== undefined) return unfit(campaign, problem);
  campaign.phase = 'campaigning';
  const bytes = encode(mesobus.v1.LeaderRecord, {
    clusterIncarnation: Math.max(1, reading.reader.incarnation),
    epoch: reading.reader.epoch + 1,
    masterId: options.masterId,
    leaseMs: options.leaseMs,
    renewal: 0,
  });
  return [{ kind: 'campaign', bytes, expectedSequence: reading.reader.lastSequence }];
}

function isHeld({ reading }: Campaign): boolean {
  const masterId = reading.reader.leader?.record.masterId;
  return masterId !== undefined && masterId !== '';
}

/** At once if nobody leads; otherwise once the leader has been silent for its lease. */
function dueAt(campaign: Campaign): number {
  const { options, reading, seenAt, notBefore } = campaign;
  if (!isHeld(campaign)) return notBefore;
  const leaseMs = reading.reader.leader?.record.leaseMs ?? options.leaseMs;
  return Math.max(mayReplaceAt(campaign), seenAt + leaseMs + options.spreadMs);
}

function mayReplaceAt({ options, reading, notBefore }: Campaign): number {
  const isOwn = reading.reader.leader?.record.masterId === options.formerId;
  return isOwn ? notBefore : Math.max(notBefore, options.at + options.pauseMs);
}

function whyUnfit({ reading, options }: Campaign): string | undefined {
  const needed = reading.reader.oldestReaderVersion;
  if (needed > ledgerVersion) {
    return `the log needs version ${needed} of the ledger's rules, this has ${ledgerVersion}: upgrade this master`;
  }
  const missing = reading.ledger.cluster.minimumCapabilities.filter((name) => !options.capabilities.includes(name));
  if (missing.length === 0) return undefined;
  return `the cluster demands of its masters what this one cannot do (${missing.join(', ')}): upgrade this master`;
}

function unfit(campaign: Campaign, why: string): CampaignEffect[] {
  campaign.phase = 'ended';
  return [{ kind: 'unfit', why }];
}

export type LeaseState = 'fresh' | 'frozen' | 'expired';

/**
 * What a leader may still do.
 *
 * @param confirmedAt - when its latest confirmed write began
 */
export function leaseState(confirmedAt: number, leaseMs: number, at: number): LeaseState {
  const silentMs = at - confirmedAt;
  if (silentMs >= leaseMs) return 'expired';
  return silentMs >= Math.min(freezeAfterMs, (leaseMs * 2) / 3) ? 'frozen' : 'fresh';
}
