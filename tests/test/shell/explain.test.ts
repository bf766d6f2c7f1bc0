// Why nothing is offered: each cause as it comes about in a cluster, and the reason that `mesobus explain` gives.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { LocalCluster } from '@mesobus/cli/local-cluster';
import type { Operator, RoleExplanation, Withheld, WithheldReason } from '@mesobus/sdk/operator';
import { parseResources, reservedFor } from '@mesobus/sdk/resources';
import { type Offer, Scheduler, type SchedulerOptions, type TaskStatus } from '@mesobus/sdk/scheduler';
import test, { type ExecutionContext } from 'ava';
import { clusterFor, connectionOf, envOf, eventually, Happenings, mesobus, operatorFor } from './in-cluster.ts';

/** What the agents are there for; `agent-1` is the first. */
const uses = ['plain', 'odd', 'outside', 'reserved', 'spare', 'dead', 'hoarded'] as const;
type Use = (typeof uses)[number];

const nameOf = (use: Use): string => `agent-${uses.indexOf(use) + 1}`;
const hostnameOf = (use: Use): string => `machine-${use}`;
const domain = (region: string): string =>
  JSON.stringify({ fault_domain: { region: { name: region }, zone: { name: `${region}-1` } } });

const argsOfUse: Readonly<Partial<Record<Use, readonly string[]>>> = {
  odd: ['--resources', 'cpus:4;mem:4096;gpus:1;disk:0;ports:[]', '--domain', domain('far')],
  reserved: ['--resources', 'cpus(vol):2;mem(vol):512;disk:0;ports:[]'],
};

function argsOf(name: string, whitelist: string): readonly string[] {
  if (name === 'master') return ['--whitelist', whitelist, '--domain', domain('here')];
  // What a limit leaves free again is seen to be free before it is offered.
  if (name === 'allocator') return ['--allocation-interval', '1mins'];
  const use = uses.find((one) => nameOf(one) === name);
  return use === undefined
    ? []
    : ['--hostname', hostnameOf(use), '--attributes', `use:${use}`, ...(argsOfUse[use] ?? [])];
}

interface Framework extends Partial<SchedulerOptions['framework']> {
  readonly demand?: SchedulerOptions['demand'];
  /** What it does with each offer; nothing unless given. */
  readonly answer?: (offer: Offer, scheduler: Scheduler) => unknown;
  readonly hear?: (status: TaskStatus) => void;
}

interface Subscribed {
  readonly scheduler: Scheduler;
  readonly frameworkId: string;
  readonly offers: Happenings<Offer>;
  readonly statuses: Happenings<TaskStatus>;
}

/** The cluster, and what a cause is made of. */
class Stage {
  readonly cluster: LocalCluster;
  readonly operator: Operator;
  readonly #ids: ReadonlyMap<string, string>;
  readonly #t: ExecutionContext;
  #frameworks = 0;
  /** Of the cause that is being shown. */
  #undoing: (() => Promise<unknown>)[] = [];

  constructor(t: ExecutionContext, cluster: LocalCluster, operator: Operator, ids: ReadonlyMap<string, string>) {
    this.#t = t;
    this.cluster = cluster;
    this.operator = operator;
    this.#ids = ids;
  }

  idOf(use: Use): string {
    return this.#ids.get(nameOf(use)) ?? '';
  }

  /** A framework in role `ads`, unless it says otherwise. */
  async framework({ demand, answer, hear, ...settings }: Framework = {}): Promise<Subscribed> {
    const offers = new Happenings<Offer>();
    const statuses = new Happenings<TaskStatus>();
    this.#frameworks += 1;
    const framework = { name: `framework-${this.#frameworks}`, roles: ['ads'], ...settings };
    const scheduler: Scheduler = new Scheduler(
      { ...connectionOf(this.cluster), framework, ...(demand && { demand }) },
      {
        async resourceOffers(list) {
          for (const offer of list) {
            await answer?.(offer, scheduler);
            offers.note(offer);
          }
        },
        statusUpdate(status) {
          hear?.(status);
          statuses.note(status);
        },
      },
    );
    const frameworkId = await scheduler.start();
    this.#t.teardown(() => scheduler.stop());
    this.undo(() => scheduler.stop());
    return { scheduler, frameworkId, offers, statuses };
  }

  /** Before the next cause. */
  undo(undoing: () => Promise<unknown>): void {
    this.#undoing.push(undoing);
  }

  async clear(): Promise<void> {
    for (const undoing of this.#undoing.splice(0).reverse()) await undoing();
  }

  async quota(role: string, quota: { guarantees?: Record<string, number>; limits?: Record<string, number> }) {
    await this.operator.updateQuota([{ role, ...quota }], { force: true });
    this.undo(() => this.operator.updateQuota([{ role }]));
  }
}

interface Question {
  readonly frameworkId: string;
  readonly role?: string;
  /** The plain one unless given. */
  readonly agent?: Use;
}

interface Cause {
  /** How it comes about. */
  readonly make: (stage: Stage) => Promise<Question>;
  readonly reason: WithheldReason;
  /** Whose limit, guarantee, reservation, turn or task it is. */
  readonly roles?: readonly string[];
  readonly detail: RegExp;
}

const wants = (cpus: number) => () => [{ resources: { cpus, mem: 32 } }];
/** Offers of the one agent alone. */
const only = (use: string, role = 'ads'): Framework => {
  const constraint = { selector: { attributeName: 'use' }, predicate: { textEquals: { value: use } } };
  const offerConstraints = { roleConstraints: { [role]: { groups: [{ attributeConstraints: [constraint] }] } } };
  return { roles: [role], offerConstraints };
};
const asks =
  (framework: Framework, agent: Use = 'plain') =>
  async (stage: Stage): Promise<Question> => ({ frameworkId: (await stage.framework(framework)).frameworkId, agent });

/** A framework that wants one task to run on an agent, and suppresses its role once it has an offer. */
async function running(stage: Stage, role: string, agent: Use, cpus: number, mem: number): Promise<Subscribed> {
  let launched = 0;
  let live = false;
  const subscribed = await stage.framework({
    ...only(agent, role),
    async answer(offer, scheduler) {
      await scheduler.suppress();
      launched += live ? 0 : 1;
      const task = { id: `task-${launched}`, command: 'exec sleep 600', resources: { cpus, mem } };
      await scheduler.launch(offer, live ? [] : [task], { refuseSeconds: 0 });
      live = true;
    },
    hear: ({ ended }) => {
      live = !ended;
    },
  });
  await subscribed.statuses.find(({ state }) => state === 'TASK_RUNNING');
  return subscribed;
}

/** Causes that show themselves after seconds: they are made first and asked for last. */
const slow: Readonly<Record<string, Cause>> = {
  'a scheduler that has gone away': {
    make: async (stage) => {
      const { scheduler, frameworkId } = await stage.framework({ ...only('none'), failoverTimeoutMs: 3_600_000 });
      await scheduler.stop({ failover: true });
      return { frameworkId };
    },
    reason: 'framework_disconnected',
    detail: /scheduler is not connected/,
  },
  'an agent that is dead': {
    make: async (stage) => {
      await stage.cluster.kill(nameOf('dead'), 'SIGKILL');
      return asks(only('none'), 'dead')(stage);
    },
    reason: 'agent_disconnected',
    detail: /not connected/,
  },
  'offers left lying before': {
    make: asks(only('hoarded'), 'hoarded'),
    reason: 'too_many_open_offers',
    detail: /may have 1 offer open at a time, .* let .* expire/,
  },
};

const causes: Readonly<Record<string, Cause>> = {
  'no such framework': {
    make: async () => ({ frameworkId: 'nobody' }),
    reason: 'framework_unknown',
    detail: /no framework has this id/,
  },
  'a role that it has not subscribed to': {
    make: async (stage) => ({ ...(await asks({})(stage)), role: 'web' }),
    reason: 'role_not_subscribed',
    detail: /not subscribed to the role/,
  },
  'offers suppressed': {
    make: asks({ suppressedRoles: ['ads'] }),
    reason: 'role_suppressed',
    detail: /has to revive/,
  },
  'no demand': {
    make: asks({ demand: () => [] }),
    reason: 'no_demand',
    detail: /wants nothing in this role/,
  },
  'all that it wants is offered': {
    make: async (stage) => {
      const { frameworkId, offers } = await stage.framework({ demand: wants(1) });
      await offers.find(() => true);
      return { frameworkId };
    },
    reason: 'demand_under_offer',
    detail: /lies in 1 offer that it has not answered/,
  },
  'offered already': {
    make: async (stage) => {
      const { frameworkId, offers } = await stage.framework(only('plain'));
      await offers.find(() => true);
      return { frameworkId };
    },
    reason: 'offered_already',
    detail: /has not answered its offer of this agent/,
  },
  'declined for ten minutes': {
    make: async (stage) => {
      const answer = (offer: Offer, scheduler: Scheduler) => scheduler.decline(offer, { refuseSeconds: 600 });
      const { frameworkId, offers } = await stage.framework({ ...only('plain'), answer });
      await offers.find(() => true);
      return { frameworkId };
    },
    reason: 'filtered',
    detail: /was declined .* comes again in (600\.0|5\d\d\.\d) s/,
  },
  'a constraint that the agent does not meet': {
    make: asks(only('none')),
    reason: 'constraint_not_met',
    detail: /does not meet the offer constraints/,
  },
  'a smallest offer that is larger than the agent': {
    make: asks({ minOffers: { ads: [{ cpus: 99 }] } }),
    reason: 'below_minimum',
    detail: /what is free, cpus:4;mem:4096, is below the smallest offer/,
  },
  'no wanted task that fits': {
    make: asks({ demand: wants(99) }),
    reason: 'shape_does_not_fit',
    detail: /no task that is wanted fits in what is free, cpus:4;mem:4096: cpus:99;mem:32 is wanted/,
  },
  'everything allocated': {
    make: async (stage) => {
      await running(stage, 'full', 'plain', 4, 4096);
      return asks({})(stage);
    },
    reason: 'nothing_free',
    roles: ['full'],
    detail: /all of it is allocated to full/,
  },
  'everything offered to others': {
    make: async (stage) => {
      const { offers } = await stage.framework(only('plain', 'quick'));
      await offers.find(() => true);
      return asks({})(stage);
    },
    reason: 'nothing_free',
    roles: ['quick'],
    detail: /all of it is offered to quick/,
  },
  'a limit of its role': {
    make: async (stage) => {
      await stage.quota('capped', { limits: { cpus: 0, mem: 0 } });
      return asks({ roles: ['capped'] })(stage);
    },
    reason: 'quota_limit',
    roles: ['capped'],
    detail: /the limit is reached: cpus of 'capped' \(0\), mem of 'capped' \(0\)/,
  },
  'a limit of the role above': {
    make: async (stage) => {
      await stage.quota('capped', { limits: { cpus: 0, mem: 0 } });
      return asks({ roles: ['capped/below'] })(stage);
    },
    reason: 'quota_limit',
    roles: ['capped'],
    detail: /the limit is reached: cpus of 'capped' \(0\), mem of 'capped' \(0\)/,
  },
  'a guarantee of another role': {
    make: async (stage) => {
      await stage.quota('promised', { guarantees: { cpus: 1000, mem: 1_000_000 } });
      return asks({})(stage);
    },
    reason: 'quota_headroom',
    roles: ['promised'],
    detail: /kept for the guarantees of promised/,
  },
  // A task of its role ends elsewhere, so that there is room below the limit; other agents wait for the next round.
  'another role with a smaller share': {
    make: async (stage) => {
      await stage.quota('rich', { limits: { cpus: 2, mem: 64 } });
      const rich = await running(stage, 'rich', 'spare', 1, 32);
      const other = await running(stage, 'rich', 'plain', 1, 32);
      await stage.framework(only('none', 'poor'));
      const question = { frameworkId: rich.frameworkId, agent: 'spare' } as const;
      for (let tries = 1; tries <= 3; tries += 1) {
        await rich.scheduler.revive();
        await told(stage, question, 'quota_limit');
        await other.scheduler.kill(`task-${tries}`);
        if ((await told(stage, question, 'in_turn', 5_000))?.reason === 'in_turn') break;
        // The round came just then: once more.
        await other.scheduler.revive();
        await other.statuses.find(({ taskId, state }) => taskId === `task-${tries + 1}` && state === 'TASK_RUNNING');
      }
      return question;
    },
    reason: 'in_turn',
    detail: /in its turn, after (.*, )?poor/,
  },
  'a reservation of another role': {
    make: asks({}, 'reserved'),
    reason: 'reserved_for_others',
    roles: ['vol/x'],
    detail: /what is free is reserved to vol\/x/,
  },
  'a refined reservation of its own, without RESERVATION_REFINEMENT': {
    make: asks({ roles: ['vol/x'], capabilities: ['PARTITION_AWARE'] }, 'reserved'),
    reason: 'capability_missing',
    detail: /RESERVATION_REFINEMENT/,
  },
  'gpus, without GPU_RESOURCES': {
    make: asks({}, 'odd'),
    reason: 'gpu_only_for_gpu_frameworks',
    detail: /GPU_RESOURCES/,
  },
  'another region, without REGION_AWARE': {
    make: asks({ capabilities: ['GPU_RESOURCES'] }, 'odd'),
    reason: 'other_region',
    detail: /region 'far', the master in 'here'.*REGION_AWARE/,
  },
  'an agent that is not whitelisted': {
    make: asks({}, 'outside'),
    reason: 'agent_not_whitelisted',
    detail: /whitelist/,
  },
  'an agent that is deactivated': {
    make: async (stage) => {
      await stage.operator.deactivateAgent(stage.idOf('spare'));
      stage.undo(() => stage.operator.reactivateAgent(stage.idOf('spare')));
      return asks({}, 'spare')(stage);
    },
    reason: 'agent_deactivated',
    detail: /deactivated/,
  },
  'an agent that is drained': {
    make: async (stage) => {
      await stage.operator.drainAgent(stage.idOf('spare'));
      stage.undo(() => stage.operator.reactivateAgent(stage.idOf('spare')));
      return asks({}, 'spare')(stage);
    },
    reason: 'agent_draining',
    detail: /drain/,
  },
  'a machine that is down for maintenance': {
    make: async (stage) => {
      const machines = [{ hostname: hostnameOf('spare') }];
      await stage.operator.updateMaintenanceSchedule([{ machines, start: new Date() }]);
      await stage.operator.startMaintenance(machines);
      stage.undo(() => stage.operator.stopMaintenance(machines));
      return asks({}, 'spare')(stage);
    },
    reason: 'agent_unknown',
    detail: /no agent has this id/,
  },
};

const withheldIn = ([role]: readonly RoleExplanation[]): Withheld | undefined =>
  role?.withheld ?? role?.agents[0]?.withheld;

/** What is told, as soon as it is the reason; what else is told, if it does not come to that. */
function told(stage: Stage, question: Question, reason: WithheldReason, timeoutMs?: number) {
  const { frameworkId, role, agent = 'plain' } = question;
  const options = { agentId: stage.idOf(agent), ...(role !== undefined && { role }) };
  const read = async () => withheldIn(await stage.operator.explain(frameworkId, options));
  return eventually(read, (withheld) => withheld?.reason === reason, timeoutMs);
}

async function check(stage: Stage, t: ExecutionContext, title: string, cause: Cause, question: Question) {
  const withheld = await told(stage, question, cause.reason, 45_000);
  t.is(withheld?.reason, cause.reason, `${title}: ${withheld?.detail}`);
  t.regex(withheld?.detail ?? '', cause.detail, title);
  if (cause.roles !== undefined) t.deepEqual(withheld?.roles, cause.roles, title);
  if (cause.reason === 'filtered') t.true((withheld?.endsInMs ?? 0) > 500_000 && (withheld?.endsInMs ?? 0) <= 600_000);
}

test.serial('each cause for which nothing is offered has its reason, with whose and until when', async (t) => {
  t.timeout(300_000);
  const folder = mkdtempSync(path.join(tmpdir(), 'mesobus-whitelist-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const whitelist = path.join(folder, 'whitelist');
  const listed = uses.filter((use) => use !== 'outside').map(hostnameOf);
  writeFileSync(whitelist, `${listed.join('\n')}\n`);
  const cluster = await clusterFor(t, {
    agents: uses.length,
    resources: 'cpus:4;mem:4096;disk:0;ports:[]',
    restart: false,
    argsOf: (name) => argsOf(name, whitelist),
  });
  const operator = await operatorFor(t, cluster);
  const ids = new Map((await operator.agents()).map(({ id, name }) => [name, id]));
  const stage = new Stage(t, cluster, operator, ids);
  await operator.reserve(stage.idOf('reserved'), reservedFor(parseResources('cpus(vol):2;mem(vol):512'), 'vol/x'));

  const later = new Stage(t, cluster, operator, ids);
  const checks: Promise<void>[] = [];
  for (const [title, cause] of Object.entries(slow))
    checks.push(check(later, t, title, cause, await cause.make(later)));
  const slowly = Promise.all(checks);
  slowly.catch(() => undefined); // waited for below, if nothing else fails before
  for (const [title, cause] of Object.entries(causes)) {
    await check(stage, t, title, cause, await cause.make(stage));
    await stage.clear();
  }
  await slowly;

  const { frameworkId } = await stage.framework(only('none'));
  const args = ['explain', frameworkId, '--agent', nameOf('plain')];
  const shown = await mesobus(t, args, envOf(cluster));
  t.is(shown.stderr, '');
  t.regex(shown.stdout, /1 +agent-1 +constraint not met +it does not meet the offer constraints of the framework$/m);
});
