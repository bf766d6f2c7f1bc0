// Alerts and dashboards ask for metrics that services really have, and each alert has its section in the guide.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { clusterFor, runOne } from './in-cluster.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const read = (file: string): string => readFileSync(`${root}${file}`, 'utf8');
const dashboards = readdirSync(`${root}infra/observability/grafana/dashboards`).filter((name) =>
  name.endsWith('.json'),
);
const alertsFile = 'infra/observability/alerts/mesobus.yml';
const guide = read('docs/operations/observability.md');

const metricsIn = (text: string): string[] => [
  ...new Set(text.match(/\b(?:mesobus|nodejs|process)_[a-z][a-z\d_]*[a-z\d]\b/g) ?? []),
];

/** Each alert with its expression and where its section is. */
function alerts(): { name: string; expr: string; section: string; summary: string }[] {
  const blocks = read(alertsFile)
    .split(/^ {6}- alert: /m)
    .slice(1);
  const part = (block: string, key: string): string => {
    const folded = new RegExp(`^ +${key}: >-\\n((?: {10,}.*\\n)*)`, 'm').exec(block)?.[1];
    return (folded ?? new RegExp(`^ +${key}: (.*)$`, 'm').exec(block)?.[1] ?? '').trim();
  };
  return blocks.map((block) => ({
    name: block.split('\n')[0] ?? '',
    expr: part(block, 'expr'),
    section: part(block, 'runbook_url'),
    summary: part(block, 'summary'),
  }));
}

const expressionsOf = (dashboard: string): string[] => {
  const { panels } = JSON.parse(read(`infra/observability/grafana/dashboards/${dashboard}`)) as {
    panels: { targets: { expr: string }[] }[];
  };
  return panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
};

test('each alert says what is wrong in a sentence, and has its section in the guide', (t) => {
  t.true(alerts().length > 10);
  for (const { name, section, summary, expr } of alerts()) {
    t.is(section, `docs/operations/observability.md#${name.toLowerCase()}`);
    t.regex(guide, new RegExp(`^### ${name}\\n\\S`, 'm'));
    t.regex(summary, /\.("|')?$/, name);
    t.true(metricsIn(expr).length > 0 || expr.startsWith('up{'), `${name}: ${expr}`);
  }
  const sections = guide.match(/^### Mesobus\w+$/gm)?.map((line) => line.slice(4));
  t.deepEqual(
    sections,
    alerts().map(({ name }) => name),
  );
});

test.serial('all metrics in alerts, dashboards and the guide are those of real services', async (t) => {
  t.timeout(120_000);
  const cluster = await clusterFor(t, { env: { MESOBUS_HTTP: '127.0.0.1:0' } });
  const { statuses } = await runOne(t, cluster, { id: 'measured', command: 'true' });
  await statuses.find(({ state }) => state === 'TASK_FINISHED');
  const pages: Record<string, string> = {};
  for (const name of cluster.names.filter((one) => !one.startsWith('nats'))) {
    const url = /"url":"(http:[^"]+)","msg":"serving/.exec(readFileSync(cluster.logOf(name), 'utf8'))?.[1];
    pages[name] = await (await fetch(`${url}/metrics`)).text();
  }
  const known = new Set<string>();
  for (const [, name = '', type = ''] of Object.values(pages)
    .join('\n')
    .matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    known.add(name);
    if (type === 'histogram') for (const end of ['bucket', 'count', 'sum']) known.add(`${name}_${end}`);
  }
  const asked = [...alerts().map(({ expr }) => expr), ...dashboards.flatMap(expressionsOf), guide];
  t.deepEqual(
    metricsIn(asked.join('\n')).filter((name) => !known.has(name)),
    [],
  );
  const value = (service: string, sample: string): string | undefined =>
    new RegExp(`^${sample} (.+)$`, 'm').exec(pages[service] ?? '')?.[1];
  t.is(value('master', 'mesobus_master_elected'), '1');
  t.is(value('master', 'mesobus_master_slaves_active'), '1');
  t.is(value('master', 'mesobus_master_tasks_finished'), '1');
  t.is(value('master', 'mesobus_master_task{state="finished",source="executor",reason=""}'), '1');
  t.is(value('master', 'mesobus_master_messages{kind="launch_tasks"}'), '1');
  t.is(value('master', 'mesobus_master_valid_status_updates'), '3');
  t.is(value('agent-1', 'mesobus_slave_registered'), '1');
  t.is(value('agent-1', 'mesobus_slave_tasks_finished'), '1');
  t.is(value('allocator', 'mesobus_allocator_appointed'), '1');
  t.is(value('registry', 'mesobus_registry_tasks'), '1');
  t.is(value('registry', 'mesobus_nats_connected'), '1');
});
