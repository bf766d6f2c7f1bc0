// The real cores of master and allocator against each other, in virtual time: a cluster that has more work than room, and
// one framework in ten that never answers.
import { type State as Books, initialState, step } from '@mesobus/allocator/core';
import { decode, encode, mesobus } from '@mesobus/protos';
import { quantitiesOf, toWire } from '@mesobus/sdk/resources';
import test from 'ava';
import type { Offer } from '../src/core/index.ts';
import { CallType, Harness, launchOf, TaskState, task } from './harness.ts';

const { SchedulerCall } = mesobus.v1;

const agents = 10;
const cpusPerAgent = 8;
const stepMs = 10;
/** From an offer to its answer. */
const decisionMs = 10;
/** Each task takes one cpu for 1 to 3 s. */
const taskMs = (number: number): number => 1_000 + ((number * 7_919) % 2_000);

interface Running {
  readonly frameworkId: string;
  readonly taskId: string;
  readonly agentName: string;
}

class Cluster {
  readonly h = new Harness({ maxCompletedTasksPerFramework: 10 });
  readonly books: Books = initialState('al1', 1);
  /** Who works, by the instance of its scheduler. */
  readonly workers = new Map<string, string>();
  /** Tasks by the step in which they end. */
  readonly ends = new Map<number, Running[]>();
  readonly agentNames = new Map<string, string>();
  hoarder = '';
  running = 0;
  tasks = 0;

  constructor({ demand }: { readonly demand: boolean }) {
    for (let i = 0; i < agents; i += 1) {
      this.agentNames.set(this.h.agent(`a${i}`, `cpus:${cpusPerAgent};mem:8192`), `a${i}`);
    }
    for (let i = 0; i < 10; i += 1) {
      const instanceId = `i${i}`;
      const frameworkId = this.h.framework({ name: `f${i}` }, { instanceId });
      if (i === 0) this.hoarder = frameworkId;
      else {
        this.workers.set(frameworkId, instanceId);
        if (demand) this.want(frameworkId, instanceId);
      }
    }
    this.h.hello();
  }

  /** A worker has a thousand tasks waiting, at any time. */
  want(frameworkId: string, instanceId: string): void {
    const quantities = { cpus: { value: 1 }, mem: { value: 64 } };
    const roles = [{ role: '*', shapes: [{ quantities, count: 1_000 }] }];
    const about = { callId: `demand of ${frameworkId}`, instanceId, generation: 1 };
    const call = decode(SchedulerCall, encode(SchedulerCall, { ...about, demand: { frameworkId, number: 1, roles } }));
    this.h.step({ kind: 'scheduler_call', principal: 'p1', call, token: about.callId });
  }

  /** Everything that happens within a step; what is sent arrives in the next. */
  pass(): void {
    const { h } = this;
    h.tick(stepMs);
    if (h.now % 5_000 === 0) for (const name of this.agentNames.values()) h.heartbeat(name);
    for (const ended of this.#due()) this.#end(ended);
    for (const [frameworkId, instanceId] of this.workers) {
      for (const offer of [...(h.state.frameworks.get(frameworkId)?.offers ?? [])]) {
        if (offer.offeredAtMs + decisionMs <= h.now) this.#launch(offer, instanceId);
      }
    }
    for (const [id, { lastCommand }] of h.state.ledger.agents) {
      if ((h.state.agents.get(id)?.cursor ?? 0) < lastCommand) h.answerCommands(id, lastCommand);
    }
    h.hello();
    for (const batch of h.feedOf()) step(this.books, h.now, { kind: 'feed', batch });
    this.#allocate();
  }

  #due(): Running[] {
    const due = this.ends.get(this.h.now) ?? [];
    this.ends.delete(this.h.now);
    return due;
  }

  #end({ frameworkId, taskId, agentName }: Running): void {
    this.running -= 1;
    this.h.update(agentName, frameworkId, taskId, 1, TaskState.TASK_FINISHED);
  }

  /** As many tasks as have room. */
  #launch(offer: Offer, instanceId: string): void {
    const { h } = this;
    const room = Math.floor((quantitiesOf(offer.resources)['cpus'] ?? 0) / 1_000);
    const tasks = Array.from({ length: room }, () => {
      this.tasks += 1;
      return task(`t${this.tasks}`, offer.agentId, { ask: 'cpus:1;mem:64' });
    });
    const accept = { offerIds: [{ value: offer.id }], operations: [launchOf(tasks)], filters: { refuseSeconds: 0 } };
    h.call({ frameworkId: offer.frameworkId, instanceId }, { type: CallType.ACCEPT, accept });
    for (const { taskId } of tasks) {
      const number = Number(taskId.value?.slice(1));
      const at = h.now + Math.ceil(taskMs(number) / stepMs) * stepMs;
      const agentName = this.agentNames.get(offer.agentId) ?? '';
      const list = this.ends.get(at) ?? [];
      list.push({ frameworkId: offer.frameworkId, taskId: taskId.value ?? '', agentName });
      this.ends.set(at, list);
      this.running += 1;
    }
  }

  #allocate(): void {
    for (const effect of step(this.books, this.h.now, { kind: 'round' })) {
      if (effect.kind !== 'allocated') continue;
      const { masterId, appointment, decisions } = effect;
      const allocations = decisions.map(({ resources, ...rest }) => ({
        ...rest,
        resources: toWire(resources),
        victims: [],
      }));
      this.h.allocator('al1', { allocations: { masterId, appointment, incarnation: 'x', allocations } });
    }
  }
}

/** Fractions of the cluster that were in use, one for each so many ms. */
function measure(cluster: Cluster, windows: number, windowMs: number): number[] {
  return Array.from({ length: windows }, () => {
    let used = 0;
    for (let ms = 0; ms < windowMs; ms += stepMs) {
      cluster.pass();
      used += cluster.running;
    }
    return (used * stepMs) / (windowMs * agents * cpusPerAgent);
  });
}

for (const demand of [true, false]) {
  const who = demand ? 'frameworks that say what they want' : 'frameworks that say nothing of their demand';
  test(`with one in ten that never answers, ${who} use more than 95 % of a full cluster`, (t) => {
    t.timeout(120_000);
    const cluster = new Cluster({ demand });
    measure(cluster, 1, 10_000); // until it is known who does not answer
    const used = measure(cluster, 4, 5_000);
    t.true(Math.min(...used) > 0.95, `used ${used.map((part) => `${(100 * part).toFixed(1)} %`).join(', ')}`);
    const conduct = cluster.h.state.frameworks.get(cluster.hoarder)?.conduct;
    t.true((conduct?.expired ?? 0) > 0, 'the one that never answers was given its chance');
  });
}

test('if offers did not expire, one in ten that never answers would keep a tenth of the cluster', (t) => {
  t.timeout(120_000);
  const cluster = new Cluster({ demand: false });
  for (const link of cluster.h.state.frameworks.values()) link.mesosCompatible = true;
  measure(cluster, 1, 10_000);
  const [used = 1] = measure(cluster, 1, 5_000);
  t.true(used < 0.91, `used ${(100 * used).toFixed(1)} %`);
});
