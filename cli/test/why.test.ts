import type { AgentSummary, RoleExplanation, Supposed } from '@mesobus/sdk/operator';
import { formatResources, type Resources } from '@mesobus/sdk/resources';
import test from 'ava';
import { agentsChange, quotaChange, whatIfChangesOf } from '../src/commands/what-if-changes.ts';
import { frameworkColumns, listFrameworks } from '../src/lists/list-frameworks.ts';
import { listReasons, reasonColumns } from '../src/lists/list-reasons.ts';
import { isChanged, sayUnchanged, supposedColumns, supposedRows } from '../src/lists/list-supposed.ts';
import { renderTable } from '../src/output/table.ts';

const lines = (text: string): string[] => text.trimEnd().split('\n');

const share = (role: string, dominantShare: number, frameworkId = '') => ({
  role,
  frameworkId,
  weight: 1,
  dominantShare,
  dominantResource: 'cpus',
  suppressed: false,
});

const explained: RoleExplanation[] = [
  {
    role: 'ads',
    share: share('ads', 0.125),
    agents: [
      {
        withheld: { reason: 'filtered', detail: 'it declined this for 4.2 s more', endsInMs: 4200, roles: [] },
        count: 12,
        agentIds: ['S1', 'S2', 'S9', 'S3'],
      },
      {
        withheld: { reason: 'quota_limit', detail: 'the limit is reached', roles: ['ads'] },
        count: 1,
        agentIds: ['S3'],
      },
    ],
  },
  { role: 'eng', withheld: { reason: 'role_suppressed', detail: 'it has suppressed offers', roles: [] }, agents: [] },
  { role: 'new', agents: [] },
];
const agents = async () => [
  { id: 'S1', name: 'agent-1' } as AgentSummary,
  { id: 'S2', name: 'agent-2' } as AgentSummary,
  { id: 'S3', name: 'agent-3' } as AgentSummary,
];

test('a framework sees why each agent is kept from it, the most frequent reason first', async (t) => {
  const rows = await listReasons({ explain: async () => explained, agents }, 'F', { maxAgents: 10 });
  t.deepEqual(lines(renderTable(reasonColumns, rows)), [
    'ROLE  SHARE  AGENTS  WHICH                    REASON           DETAIL',
    'ads   12.5%      12  agent-1, agent-2, S9, …  filtered         it declined this for 4.2 s more',
    'ads   12.5%       1  agent-3                  quota limit      the limit is reached',
    'eng       -       -                           role suppressed  it has suppressed offers',
    'new       -       0                           no agents        no agent is registered',
  ]);
  t.is(rows[0]?.endsInMs, 4200);
  t.is(rows[0]?.agentNames.length, 4);
});

test('what comes of a guarantee that nothing free meets stands before the agents', async (t) => {
  const reclaim = { reason: 'reclaim_waits', detail: 'it waits', endsInMs: 2000, roles: [] } as const;
  const [ads] = explained.map((role) => ({ ...role, reclaim }));
  const rows = await listReasons({ explain: async () => (ads ? [ads] : []), agents }, 'F', { maxAgents: 10 });
  t.deepEqual(
    rows.map(({ agents: count, reason, endsInMs }) => [count, reason, endsInMs]),
    [
      [null, 'reclaim_waits', 2000],
      [12, 'filtered', 4200],
      [1, 'quota_limit', null],
    ],
  );
});

test('what would be stands beside what is, roles with all below them before their frameworks', (t) => {
  const before: Supposed = {
    roles: [share('ads', 0.5), share('eng', 0.5), share('eng/web', 0.5), share('idle', 0)],
    frameworks: [share('ads', 0.5, 'F1'), share('eng/web', 0.5, 'F2')],
    offers: [
      { role: 'ads', frameworkId: 'F1', agents: 2, quantities: { cpus: 8, mem: 1024 } },
      { role: 'eng/web', frameworkId: 'F2', agents: 2, quantities: { cpus: 8, mem: 1024 } },
    ],
  };
  const after: Supposed = {
    roles: [share('ads', 0.25), share('eng', 0.75), share('eng/web', 0.5), share('idle', 0)],
    frameworks: [share('ads', 0.25, 'F1'), share('eng/web', 0.5, 'F2')],
    offers: [{ role: 'eng/web', frameworkId: 'F2', agents: 4, quantities: { cpus: 16, mem: 1024 } }],
  };
  const frameworks = [
    { id: 'F1', name: 'server' },
    { id: 'F2', name: 'worker' },
    { id: 'F3', name: 'worker' },
  ];
  const rows = supposedRows({ before, after }, frameworks);
  t.deepEqual(lines(renderTable(supposedColumns, rows)), [
    'ROLE     FRAMEWORK  SHARE/WEIGHT  OFFERED AGENTS  OFFERED CPUS  OFFERED MEM',
    'ads      (all)         50% > 25%           2 > 0         8 > 0     1024 > 0',
    'ads      server        50% > 25%           2 > 0         8 > 0     1024 > 0',
    'eng      (all)         50% > 75%           2 > 4        8 > 16         1024',
    'eng/web  (all)               50%           2 > 4        8 > 16         1024',
    'eng/web  F2                  50%           2 > 4        8 > 16         1024',
    'idle     (all)                0%               0             0            0',
  ]);
  t.deepEqual(
    rows.filter((row) => !isChanged(row)).map(({ role }) => role),
    ['idle'],
  );
  t.is(sayUnchanged(1, 7), '1 more would be as it is\n');
  t.is(sayUnchanged(2, 2), 'nothing would be otherwise\n');
});

test('quotas that are supposed are those of now with what is named in its place', async (t) => {
  const quota = { guarantees: { cpus: 5, mem: 64 }, limits: { cpus: 9 } };
  const roles = async () => [{ role: 'ads', quota }] as never[];
  const changes = await whatIfChangesOf(
    {
      weight: [{ role: 'eng', weight: 2 }],
      quota: [...quotaChange('ads.cpus=100'), ...quotaChange('a/b.c.gpus=1')],
      limit: quotaChange('ads.cpus=none'),
    },
    { roles, agents },
  );
  t.deepEqual(changes, {
    weights: { eng: 2 },
    quotas: {
      ads: { guarantees: { cpus: 100, mem: 64 }, limits: {} },
      'a/b.c': { guarantees: { gpus: 1 }, limits: {} },
    },
    agentsAdded: [],
    agentsRemoved: [],
  });
});

test('agents that are supposed to come or go are counted, described or named', async (t) => {
  const given = ['+50', '+2=cpus:8;mem:16384', '-agent-3', '-S1'].reduce<ReturnType<typeof agentsChange>>(
    (before, text) => agentsChange(text, before),
    [],
  );
  const { agentsAdded, agentsRemoved } = await whatIfChangesOf({ agents: given }, { agents, roles: async () => [] });
  t.deepEqual(
    agentsAdded?.map(({ count, resources }) => [count, resources && formatResources(resources as Resources)]),
    [
      [50, undefined],
      [2, 'cpus:8;mem:16384'],
    ],
  );
  t.deepEqual(agentsRemoved, ['S3', 'S1']);
  await t.throwsAsync(whatIfChangesOf({ agents: agentsChange('-x') }, { agents, roles: async () => [] }), {
    message: /Cannot find agent 'x'/,
  });
});

test('frameworks are listed with the offers that they keep to themselves', async (t) => {
  const amounts = { cpus: 1, mem: 32, disk: 0, gpus: 0 };
  const about = { user: 'u', principal: 'p', roles: ['*'], suppressedRoles: [], tasks: 0, removed: false };
  const framework = { ...about, id: 'F1', name: 'f', allocated: amounts, registeredAt: new Date(0) };
  const offers = {
    openOffers: 1,
    maxOpenOffers: 2,
    answeredOffers: 7,
    expiredOffers: 3,
    offerTimeoutMs: 1250,
    decisionMs: 12,
    heldSeconds: { cpus: 44.5 },
    demands: [],
  };
  const connections = async () => ({ frameworks: [{ frameworkId: 'F1', connected: true, ...offers }] }) as never;
  const [row] = await listFrameworks({ frameworks: async () => [framework] as never[], connections }, false, () => {});
  t.deepEqual(row?.offers, offers);
  t.regex(renderTable(frameworkColumns(0), row === undefined ? [] : [row]), / 1\/2 +3 +44\.5 /);
});
