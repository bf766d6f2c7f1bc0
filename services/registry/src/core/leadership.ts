import { encode, mesobus } from '@mesobus/protos';
import type { LogReader, LogReaderEffect } from './log-reader.ts';
import { ledgerVersion, maxRetryMs, retryMs } from './log-writer.ts';

/** How long a leader may be silent before another takes over: longer than JetStream's own leader change. */
export const defaultLeaseMs = 15_000;
/** A leader whose writes have not been confirmed for so long accepts nothing new. */
const freezeAfterMs = 10_000;
/** Added to the lease, so that standbys do not all campaign at once. */
export const maxSpreadMs = 2_000;

export interface CampaignOptions {
  /** Unique per start of a process. */
  readonly masterId: string;
  readonly leaseMs: number;
  /** The silence after which a leader is replaced; the lease that its record names if undefined. */
  readonly takeoverAfterMs?: number;
  /** From 0 to {@link maxSpreadMs}; drawn by the shell. */
  readonly spreadMs: number;
  readonly at: number;
}

export type CampaignInput =
  | { readonly kind: 'tick' }
  /** What the reader made of a message. */
  | { readonly kind: 'read'; readonly effect: LogReaderEffect }
  /** The reader has read all that stood in the bucket when it began. */
  | { readonly kind: 'caught_up' }
  /** The shell's answer to `campaign`: written or not, the reader will show who won. */
  | { readonly kind: 'campaign_ended'; readonly outcome: 'written' | 'refused' | 'unknown' };

export type CampaignEffect =
  /** Write `bytes` to `leader` if the sequence of its latest record is the expected one (0: there is none). */
  | { readonly kind: 'campaign'; readonly bytes: Uint8Array; readonly expectedLeaderSequence: number }
  /** Our own record was read, and with it everything before it: a writer may begin. */
  | { readonly kind: 'won'; readonly incarnation: number; readonly epoch: number; readonly sequence: number }
  /** This master can never lead over this log. */
  | { readonly kind: 'unfit'; readonly why: string };

/**
 * Wins the right to append: a compare-and-set on `leader`, then reading up to our own record. Its sequence is the
 * bucket's last, so whoever led before is refused from then on.
 */
export interface Campaign {
  readonly options: CampaignOptions;
  readonly reader: LogReader;
  phase: 'following' | 'campaigning' | 'ended';
  caughtUp: boolean;
  /** When the log last showed a sign of its leader. */
  heardAt: number;
  /** A campaign that failed is not repeated before. */
  notBefore: number;
  failures: number;
}

export const createCampaign = (options: CampaignOptions, reader: LogReader): Campaign => ({
  options,
  reader,
  phase: 'following',
  caughtUp: false,
  heardAt: options.at,
  notBefore: options.at,
  failures: 0,
});

/** Feed the reader first, then pass on each of its effects. */
export function stepCampaign(campaign: Campaign, at: number, input: CampaignInput): CampaignEffect[] {
  if (campaign.phase === 'ended') return [];
  switch (input.kind) {
    case 'read':
      return onRead(campaign, at, input.effect);
    case 'campaign_ended':
      return onCampaignEnded(campaign, at, input.outcome);
    case 'caught_up':
      campaign.caughtUp = true;
      return campaignIfDue(campaign, at);
    case 'tick':
      return campaignIfDue(campaign, at);
  }
}

/** When the next tick is due; undefined while only the log can change anything. */
export function nextCampaignAt(campaign: Campaign): number | undefined {
  return campaign.phase === 'following' && campaign.caughtUp ? dueAt(campaign) : undefined;
}

function onRead(campaign: Campaign, at: number, effect: LogReaderEffect): CampaignEffect[] {
  campaign.heardAt = at;
  if (effect.kind === 'stopped') return unfit(campaign, effect.why);
  if (effect.kind !== 'leader' || effect.record.masterId !== campaign.options.masterId) {
    return campaignIfDue(campaign, at); // a leader that resigned is replaced at once
  }
  campaign.phase = 'ended';
  const { clusterIncarnation: incarnation, epoch } = effect.record;
  return [{ kind: 'won', incarnation, epoch, sequence: effect.sequence }];
}

function onCampaignEnded(campaign: Campaign, at: number, outcome: 'written' | 'refused' | 'unknown'): CampaignEffect[] {
  if (outcome === 'written') return []; // the reader will come to it
  campaign.phase = 'following';
  campaign.notBefore = at + Math.min(maxRetryMs, retryMs * 2 ** Math.min(campaign.failures, 10));
  campaign.failures += 1;
  return [];
}

function campaignIfDue(campaign: Campaign, at: number): CampaignEffect[] {
  if (campaign.phase !== 'following' || !campaign.caughtUp || at < dueAt(campaign)) return [];
  const { reader, options } = campaign;
  if (reader.oldestReaderVersion > ledgerVersion) {
    const needed = reader.oldestReaderVersion;
    return unfit(campaign, `the log needs version ${needed} of the ledger's rules, this has ${ledgerVersion}: upgrade`);
  }
  campaign.phase = 'campaigning';
  const bytes = encode(mesobus.v1.LeaderRecord, {
    clusterIncarnation: Math.max(1, reader.incarnation),
    epoch: reader.epoch + 1,
    masterId: options.masterId,
    leaseMs: options.leaseMs,
    renewal: 0,
  });
  return [{ kind: 'campaign', bytes, expectedLeaderSequence: reader.leader?.sequence ?? 0 }];
}

/** At once if nobody leads; otherwise once the leader has been silent for its lease. */
function dueAt({ options, reader, heardAt, notBefore }: Campaign): number {
  const leader = reader.leader?.record;
  if (leader === undefined || leader.masterId === '') return notBefore;
  const silenceMs = options.takeoverAfterMs ?? leader.leaseMs + options.spreadMs;
  return Math.max(notBefore, heardAt + silenceMs);
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
