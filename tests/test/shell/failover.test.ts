// The short form of `npm run chaos -- failover`: three masters on three NATS servers, and the leader is killed once.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { mayReplicate } from '@mesobus/sdk/testing';
import test from 'ava';
import { replaceLeader } from '../../chaos/failover.ts';
import { Stage } from '../../chaos/stage.ts';

test.serial(
  'when the leader of three masters is killed, another goes on, and each task runs exactly once',
  async (t) => {
    t.timeout(180_000);
    const root = mkdtempSync(path.join(tmpdir(), 'mesobus-e2e-'));
    t.teardown(() => rmSync(root, { recursive: true, force: true }));
    const controller = new AbortController();
    const options = { tasks: 200, rounds: 0, say: t.log, signal: controller.signal, dir: path.join(root, 'cluster') };
    const setStage = () => Stage.set({ ...options, name: 'failover', seconds: [0.5, 2], slots: 80 });
    if (!(await mayReplicate())) {
      await t.throwsAsync(setStage, { message: /with replicas on it two masters could both win/ });
      return;
    }
    await using stage = await setStage();
    stage.workload.start();
    const leaderBefore = await stage.cluster.leader();
    await stage.strike(
      1,
      () => stage.cluster.leader(),
      (leader) => replaceLeader(stage, leader, 'SIGKILL'),
    );
    const leader = await stage.cluster.leader();
    t.not(leader.masterId, leaderBefore.masterId);
    t.true(leader.epoch.epoch > leaderBefore.epoch.epoch);
    t.like(await stage.finish(), { tasks: 200, lost: 0, doubled: 0, unreported: 0, reported_twice: 0 });
  },
);
