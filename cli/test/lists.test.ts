import test from 'ava';
import { agentColumns, listAgents } from '../src/lists/list-agents.ts';
import { frameworkColumns, listFrameworks } from '../src/lists/list-frameworks.ts';
import { machineRows, statusColumns } from '../src/lists/list-maintenance.ts';
import { listQuotas, quotaColumns } from '../src/lists/list-quotas.ts';
import { listRoles, roleColumns } from '../src/lists/list-roles.ts';
import { type Column, renderTable } from '../src/output/table.ts';

const amounts = { cpus: 1, mem: 32, disk: 0, gpus: 0 };
const registeredAt = new Date(0);
const nobody = async (): Promise<never> => {
  throw new Error('nobody leads');
};

/** What is shown of one thing when only the registries answer, and what is said to be missing. */
async function shown<Row>(columns: readonly Column<Row>[], list: (note: (what: string) => void) => Promise<Row[]>) {
  const notes: string[] = [];
  const rows = await list((what) => notes.push(what));
  return { row: renderTable(columns, rows).split('\n')[1] ?? '', notes };
}

test('without a leader agents are listed, and nobody claims that they are there', async (t) => {
  const states = { lifecycle: 'admitted', deactivated: false, draining: true, drained: false } as const;
  const agent = { id: 'S1', name: 'a1', hostname: 'h', port: 0, attributes: [], tasks: 0, version: '1', ...states };
  const agents = async () => [{ ...agent, total: amounts, allocated: amounts, registeredAt }] as never[];
  const { row, notes } = await shown(agentColumns(0), (note) =>
    listAgents({ agents, connections: nobody }, false, note),
  );
  t.regex(row, /a1 +S1 +h +\?, draining /);
  t.deepEqual(notes, ['it is not known which agents are connected: nobody leads']);
});

test('of an agent that lends what lies idle the list shows how much', async (t) => {
  const states = { lifecycle: 'admitted', deactivated: false, draining: false, drained: false } as const;
  const agent = { id: 'S1', name: 'a1', hostname: 'h', port: 0, attributes: [], tasks: 0, version: '1', ...states };
  const agents = async () => [{ ...agent, total: amounts, allocated: amounts, registeredAt }] as never[];
  const revocable = { ...amounts, cpus: 0.5, mem: 0, ports: [] };
  const connections = async () => ({ agents: [{ agentId: 'S1', connected: true, revocable }] }) as never;
  const { row } = await shown(agentColumns(0), (note) => listAgents({ agents, connections }, false, note));
  t.regex(row, /a1 +S1 +h +active +1\/1\+0\.5 +32\/32 +0\/0 /);
});

test('without a leader frameworks are listed, and nobody claims that their schedulers are there', async (t) => {
  const framework = { id: 'F1', name: 'f', user: 'u', principal: 'p', roles: ['*'], suppressedRoles: [], tasks: 0 };
  const frameworks = async () => [{ ...framework, removed: false, allocated: amounts, registeredAt }] as never[];
  const { row, notes } = await shown(frameworkColumns(0), (note) =>
    listFrameworks({ frameworks, connections: nobody }, false, note),
  );
  t.regex(row, /F1 +f +\? .* \? +\? +\? /);
  t.deepEqual(notes, ['it is not known which schedulers are connected: nobody leads']);
});

test('without an allocator roles are listed with their weights, and without shares', async (t) => {
  const roles = async () => [{ role: 'ads', weight: 2, allocated: amounts, frameworkIds: [] }] as never[];
  const { row, notes } = await shown(roleColumns, (note) => listRoles({ roles, shares: nobody }, note));
  t.regex(row, /ads +2 +\? /);
  t.deepEqual(notes, ['it is not known what shares the roles have: nobody leads']);
});

test('without a leader quotas are listed, and nobody claims to know what is used of them', async (t) => {
  const quota = { guarantees: { cpus: 1.5 }, limits: {} };
  const roles = async () => [{ role: 'ads', weight: 1, quota }, { role: 'web' }] as never[];
  const { row, notes } = await shown(quotaColumns, (note) => listQuotas({ roles, quotas: nobody }, note));
  t.regex(row, /^ads +cpus +1\.5 +- +\?$/);
  t.deepEqual(notes, ['it is not known how much of the quotas is used: nobody leads']);
});

test('each machine of the schedule is listed with what it does and what frameworks say', (t) => {
  const start = new Date(0);
  const windows = [{ machines: [{ hostname: 'm1' }, { ip: '10.0.0.1' }], start, durationMs: 5_400_000 }];
  const answers = [{ frameworkId: 'F1', answer: 'accept' as const, at: start }];
  const status = { draining: [{ machine: { hostname: 'm1' }, answers }], down: [{ ip: '10.0.0.1' }] };
  const [, first, second] = renderTable(statusColumns, machineRows(windows, status)).split('\n');
  t.regex(first ?? '', /^m1 +draining +1970-01-01T00:00:00\.000Z +1h30m +F1: accept$/);
  t.regex(second ?? '', /^10\.0\.0\.1 +down +1970-01-01T00:00:00\.000Z +1h30m$/);
});
