import { decode, encode, mesobus } from '@mesobus/protos';
import test from 'ava';
import {
  type Campaign,
  type CampaignEffect,
  type CampaignInput,
  createCampaign,
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

  constructor(more: { takeoverAfterMs?: number } = {}) {
    const options = { masterId: 'me', leaseMs: 15_000, spreadMs: 700, at: 0, ...more };
    this.campaign = createCampaign(options, this.reader);
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

  leader(masterId: string, epoch: number): CampaignEffect[] {
    const record = { clusterIncarnation: 1, epoch, masterId, leaseMs: 15_000 };
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
  t.like(effects[0], { kind: 'campaign', expectedLeaderSequence: 0 });
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
  t.like(effects[0], { kind: 'campaign', expectedLeaderSequence: 1 });
  t.is(recordIn(effects)?.epoch, 5);
});

test('each entry and each renewal starts the lease anew', (t) => {
  const standby = new Standby({ takeoverAfterMs: 1_000 });
  standby.leader('other', 1);
  standby.step({ kind: 'caught_up' });
  standby.wait(900);
  standby.leader('other', 1);
  t.deepEqual(standby.wait(900), []);
  standby.read(entryKey(1), encode(mesobus.v1.LogEntry, { clusterIncarnation: 1, epoch: 1, index: 1 }));
  t.deepEqual(standby.wait(900), []);
  t.is(standby.wait(100)[0]?.kind, 'campaign');
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
  standby.step({ kind: 'campaign_ended', outcome: 'unknown' });
  t.deepEqual(standby.leader('me', 1), [{ kind: 'won', incarnation: 1, epoch: 1, sequence: 1 }]);
  t.deepEqual(standby.wait(100_000), []);
});

test('an acknowledged campaign is not yet a victory: the record must be read', (t) => {
  const standby = new Standby();
  standby.step({ kind: 'caught_up' });
  t.deepEqual(standby.step({ kind: 'campaign_ended', outcome: 'written' }), []);
});

test('a refused campaign is repeated after a pause, with what was learned meanwhile', (t) => {
  const standby = new Standby();
  standby.step({ kind: 'caught_up' });
  standby.step({ kind: 'campaign_ended', outcome: 'refused' });
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
