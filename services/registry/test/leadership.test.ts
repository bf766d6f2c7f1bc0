import { decode, encode, mesobus } from '@mesobus/protos';
import test from 'ava';
import {
  type Campaign,
  type CampaignEffect,
  type CampaignInput,
  type CampaignOptions,
  createCampaign,
  createLedger,
  createLogReader,
  entryKey,
  leaderKey,
  leaseState,
  nextCampaignAt,
  readMessage,
  stepCampaign,
} from '../src/core/index.ts';
import { sha256 } from './simulated-log.ts';

class Standby {
  readonly reader = createLogReader(sha256);
  readonly campaign: Campaign;
  at = 0;
  #sequence = 0;

  constructor(more: Partial<CampaignOptions> & { minimumCapabilities?: string[] } = {}) {
    const { minimumCapabilities = [], ...rest } = more;
    const defaults = {
      leaseMs: 15_000,
      spreadMs: 700,
      at: 0,
      witnessed: false,
      pauseMs: 0,
      formerId: '',
      capabilities: [],
    };
    const cluster = { ...createLedger().cluster, minimumCapabilities };
    const reading = { reader: this.reader, ledger: { cluster } };
    this.campaign = createCampaign({ masterId: 'me', ...defaults, ...rest }, reading);
  }

  step(input: CampaignInput): CampaignEffect[] {
    return stepCampaign(this.campaign, this.at, input);
  }

  wait(ms: number): CampaignEffect[] {
    this.at += ms;
    return this.step({ kind: 'tick' });
  }

  read(key: string, bytes: Uint8Array): CampaignEffect[] {
    this.#sequence += 1;
    const effects = readMessage(this.reader, { key, bytes, sequence: this.#sequence });
    return effects.flatMap((effect) => this.step({ kind: 'read', effect }));
  }

  leader(masterId: string, epoch: number, renewal = 0): CampaignEffect[] {
    const record = { clusterIncarnation: 1, epoch, masterId, leaseMs: 15_000, renewal };
    return this.read(leaderKey, encode(mesobus.v1.LeaderRecord, record));
  }
}

function recordIn(effects: CampaignEffect[]): mesobus.v1.LeaderRecord | undefined {
  const [effect] = effects;
  return effect?.kind === 'campaign' ? decode(mesobus.v1.LeaderRecord, effect.bytes) : undefined;
}

test('in an empty log a master campaigns at once, as the first epoch of the first incarnation', (t) => {
  const standby = new Standby();
  const effects = standby.step({ kind: 'caught_up' });
  t.like(effects[0], { kind: 'campaign', expectedSequence: 0 });
  t.like(recordIn(effects), { epoch: 1, clusterIncarnation: 1, masterId: 'me' });
});

test('before it has caught up a master does not campaign', (t) => {
  const standby = new Standby();
  t.deepEqual(standby.wait(100_000), []);
});

test('a leader that is silent for its lease and a little more is replaced', (t) => {
  const standby = new Standby();
  standby.leader('other', 4);
  standby.step({ kind: 'caught_up' });
  t.is(nextCampaignAt(standby.campaign), 15_700);
  t.deepEqual(standby.wait(15_699), []);
  const effects = standby.wait(1);
  t.like(effects[0], { kind: 'campaign', expectedSequence: 1 });
  t.is(recordIn(effects)?.epoch, 5);
});

test('each entry and each renewal starts the lease anew', (t) => {
  const standby = new Standby();
  standby.leader('other', 1);
  standby.step({ kind: 'caught_up' });
  standby.wait(15_000);
  standby.leader('other', 1);
  t.deepEqual(standby.wait(15_000), []);
  standby.read(entryKey(1), encode(mesobus.v1.LogEntry, { clusterIncarnation: 1, epoch: 1, index: 1 }));
  t.deepEqual(standby.wait(15_000), []);
  t.is(standby.wait(700)[0]?.kind, 'campaign');
});

test('a standby whose reading has begun anew does not campaign before it has caught up again', (t) => {
  const standby = new Standby();
  standby.leader('other', 1);
  standby.step({ kind: 'caught_up' });
  standby.step({ kind: 'restarted' });
  t.deepEqual(standby.wait(100_000), []);
  t.is(standby.step({ kind: 'caught_up' })[0]?.kind, 'campaign');
});

test('a standby that waits for a snapshot does not campaign, however long a restore takes', (t) => {
  const standby = new Standby();
  standby.leader('other', 1);
  standby.step({ kind: 'caught_up' });
  const record = { clusterIncarnation: 2, epoch: 2, masterId: 'restore', leaseMs: 15_000, restoring: true };
  standby.read(leaderKey, encode(mesobus.v1.LeaderRecord, record));
  t.deepEqual(standby.wait(100_000), []);
});

test('a standby that was cut off counts the lease from its return', (t) => {
  const standby = new Standby();
  standby.leader('other', 1);
  standby.step({ kind: 'caught_up' });
  standby.wait(1_000);
  standby.step({ kind: 'connection', connected: false });
  t.deepEqual(standby.wait(100_000), []);
  t.deepEqual(standby.step({ kind: 'connection', connected: true }), []);
  t.deepEqual(standby.wait(15_000), []);
  t.is(standby.wait(700)[0]?.kind, 'campaign');
});

test('a leader that resigned is replaced at once', (t) => {
  const standby = new Standby();
  standby.leader('other', 1);
  standby.step({ kind: 'caught_up' });
  t.is(standby.leader('', 1)[0]?.kind, 'campaign');
});

test('whoever reads its own record has won, even if it was told nothing', (t) => {
  const standby = new Standby();
  standby.step({ kind: 'caught_up' });
  standby.step({ kind: 'campaign_ended' });
  t.deepEqual(standby.leader('me', 1), [{ kind: 'won', incarnation: 1, epoch: 1, sequence: 1 }]);
  t.deepEqual(standby.wait(100_000), []);
});

test('an acknowledged campaign is not yet a victory: the record must be read', (t) => {
  const standby = new Standby();
  standby.step({ kind: 'caught_up' });
  t.deepEqual(standby.step({ kind: 'campaign_ended' }), []);
});

test('a record that was written, and overwritten before it could be read, does not end the campaigning', (t) => {
  const standby = new Standby();
  standby.step({ kind: 'caught_up' });
  standby.step({ kind: 'campaign_ended' });
  standby.step({ kind: 'restarted' });
  standby.leader('other', 2); // in place of ours
  standby.step({ kind: 'caught_up' });
  t.is(recordIn(standby.wait(15_700))?.epoch, 3);
});

test('a record that was written, and lost with its server, is written again', (t) => {
  const standby = new Standby();
  standby.step({ kind: 'caught_up' });
  standby.step({ kind: 'campaign_ended' });
  standby.step({ kind: 'restarted' });
  standby.step({ kind: 'caught_up' }); // and nothing was there
  t.is(recordIn(standby.wait(1_000))?.epoch, 1);
});

test('a refused campaign is repeated after a pause, with what was learned meanwhile', (t) => {
  const standby = new Standby();
  standby.step({ kind: 'caught_up' });
  standby.step({ kind: 'campaign_ended' });
  t.deepEqual(standby.wait(10), []);
  standby.leader('faster', 1);
  t.deepEqual(standby.wait(1000), []);
  t.is(recordIn(standby.wait(15_000))?.epoch, 2);
});

test('a master that is too old for the log does not lead over it', (t) => {
  const standby = new Standby();
  const entry = { clusterIncarnation: 1, epoch: 1, index: 1, oldestReaderVersion: 99 };
  standby.read(entryKey(1), encode(mesobus.v1.LogEntry, entry));
  const [effect] = standby.step({ kind: 'caught_up' });
  t.is(effect?.kind, 'unfit');
});

test('a master that lacks what the cluster demands does not lead, and says what', (t) => {
  const standby = new Standby({ capabilities: ['a'], minimumCapabilities: ['a', 'quota_v2'] });
  const [effect] = standby.step({ kind: 'caught_up' });
  t.is(
    effect?.kind === 'unfit' ? effect.why : '',
    'the cluster demands of its masters what this one cannot do (quota_v2): upgrade this master',
  );
});

test('a master that can do what the cluster demands leads', (t) => {
  const standby = new Standby({ capabilities: ['a', 'b'], minimumCapabilities: ['a'] });
  t.is(standby.step({ kind: 'caught_up' })[0]?.kind, 'campaign');
});

test('a master that lost the log to nobody need not wait before it replaces itself', (t) => {
  const standby = new Standby({ pauseMs: 60_000, formerId: 'me before' });
  standby.leader('me before', 1);
  standby.step({ kind: 'caught_up' });
  t.is(standby.wait(15_700)[0]?.kind, 'campaign');
});

test('a master that was deposed lately replaces nobody, but takes over from one that resigns', (t) => {
  const standby = new Standby({ pauseMs: 60_000, formerId: 'me before' });
  standby.leader('other', 1);
  standby.step({ kind: 'caught_up' });
  t.deepEqual(standby.wait(59_999), []);
  t.is(standby.leader('', 1)[0]?.kind, 'campaign');
});

// ---- early takeover

const probeOf = (effects: CampaignEffect[]): number | undefined =>
  effects.map((effect) => (effect.kind === 'probe' ? effect.probe : undefined)).find((probe) => probe !== undefined);

/** A standby that has heard the leader, and then hears nothing more. Its probes are answered at once. */
function watching(options: { announced?: boolean; answer?: 'nobody' | 'unknown' } = {}): {
  standby: Standby;
  /** Lets time pass until it campaigns; gives the time. */
  campaignsAt(untilMs: number): number | undefined;
} {
  const { announced = true, answer = 'nobody' } = options;
  const standby = new Standby({ witnessed: true });
  standby.step({ kind: 'connection', connected: true });
  standby.leader('other', 4);
  standby.step({ kind: 'caught_up' });
  if (announced) standby.step({ kind: 'beat', masterId: 'other', leading: true });
  const campaignsAt = (untilMs: number): number | undefined => {
    for (;;) {
      const next = nextCampaignAt(standby.campaign);
      if (next === undefined || next > untilMs) return undefined;
      let effects = standby.wait(Math.max(0, next - standby.at));
      const probe = probeOf(effects);
      if (probe !== undefined) effects = standby.step({ kind: 'probed', probe, answer });
      if (effects.some(({ kind }) => kind === 'campaign')) return standby.at;
    }
  };
  return { standby, campaignsAt };
}

test('a leader of which nothing is seen, heard or found is replaced after 1.2 s', (t) => {
  t.is(watching().campaignsAt(20_000), 1_200);
});

test('a leader that is silent but keeps its subjects costs a lease', (t) => {
  t.is(watching({ answer: 'unknown' }).campaignsAt(20_000), 15_700);
});

test('a leader that has just won is left alone for a lease, until it announces itself', (t) => {
  t.is(watching({ announced: false }).campaignsAt(20_000), 15_700);
  const { standby, campaignsAt } = watching({ announced: false });
  standby.step({ kind: 'beat', masterId: 'other', leading: false }); // it loads
  t.is(campaignsAt(14_000), undefined);
  standby.step({ kind: 'beat', masterId: 'other', leading: true });
  t.is(campaignsAt(20_000), 1_200);
});

test('a renewal or an entry of the leader announces it too', (t) => {
  const renewed = watching({ announced: false });
  renewed.standby.leader('other', 4, 1);
  t.is(renewed.campaignsAt(20_000), 1_200);
  const written = watching({ announced: false });
  written.standby.read(entryKey(1), encode(mesobus.v1.LogEntry, { clusterIncarnation: 1, epoch: 4, index: 1 }));
  t.is(written.campaignsAt(20_000), 1_200);
});

test('beats alone, or the log alone, keep a leader in office', (t) => {
  const beating = watching();
  for (let at = 300; at <= 9_000; at += 300) {
    t.is(beating.campaignsAt(at), undefined);
    beating.standby.wait(at - beating.standby.at);
    beating.standby.step({ kind: 'beat', masterId: 'other', leading: true });
  }
  const writing = watching();
  for (let at = 300; at <= 9_000; at += 300) {
    t.is(writing.campaignsAt(at), undefined);
    writing.standby.wait(at - writing.standby.at);
    writing.standby.leader('other', 4, at);
  }
});

test('beats of a master that the log does not name keep nobody in office', (t) => {
  const { standby, campaignsAt } = watching();
  t.is(campaignsAt(1_100), undefined);
  standby.step({ kind: 'beat', masterId: 'deposed', leading: true });
  t.is(campaignsAt(20_000), 1_200);
});

test('time in which the standby itself was cut off proves nothing', (t) => {
  const { standby, campaignsAt } = watching();
  t.is(campaignsAt(1_100), undefined);
  standby.step({ kind: 'connection', connected: false });
  standby.wait(5_000);
  standby.step({ kind: 'connection', connected: true });
  const back = standby.at;
  t.is(campaignsAt(20_000), back + 1_200);
});

test('the answer to a probe that was sent before the leader was heard counts for nothing', (t) => {
  const { standby } = watching();
  const probe = probeOf(standby.wait(600)) ?? 0;
  standby.step({ kind: 'beat', masterId: 'other', leading: true });
  standby.step({ kind: 'probed', probe, answer: 'nobody' });
  t.is(standby.campaign.evidence.nobody, 0);
});

test('one probe that finds somebody demands three more', (t) => {
  const { standby } = watching();
  const answers = ['nobody', 'nobody', 'unknown', 'nobody', 'nobody', 'nobody'] as const;
  const times: number[] = [];
  for (const answer of answers) {
    const probe = probeOf(standby.wait((nextCampaignAt(standby.campaign) ?? 0) - standby.at)) ?? 0;
    times.push(standby.at);
    const effects = standby.step({ kind: 'probed', probe, answer });
    if (effects[0]?.kind === 'campaign') break;
  }
  t.deepEqual(times, [600, 900, 1_200, 1_500, 1_800, 2_100]);
  t.is(standby.campaign.phase, 'campaigning');
});

const leases = [
  [0, 'fresh'],
  [9_999, 'fresh'],
  [10_000, 'frozen'],
  [14_999, 'frozen'],
  [15_000, 'expired'],
] as const;
for (const [silentMs, state] of leases) {
  test(`a lease of 15 s is ${state} after ${silentMs} ms without a confirmed write`, (t) => {
    t.is(leaseState(100, 15_000, 100 + silentMs), state);
  });
}
