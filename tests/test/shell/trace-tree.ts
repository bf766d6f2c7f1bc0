import type { ReceivedSpan } from '@mesobus/sdk/testing';

/**
 * All spans of the trace in which a task was launched, each once: whoever takes over writes again what the one before may
 * not have sent, under the same ids.
 */
export function traceOfTask(spans: readonly ReceivedSpan[], taskId: string): ReceivedSpan[] {
  const traceId = spans.find(({ attributes }) => attributes['mesobus.task_id'] === taskId)?.traceId;
  const bySpan = new Map(spans.filter((span) => span.traceId === traceId).map((span) => [span.spanId, span]));
  return [...bySpan.values()];
}

const wanted = [
  'allocate',
  'offer',
  'resourceOffers',
  'accept',
  'commit',
  'run task',
  'start container',
  'forward status',
  'statusUpdate',
  'acknowledge',
  'acknowledge update',
];

/** Whether a trace has all its kinds of spans, so many updates, the acknowledgement of each, and nothing that hangs loose. */
export function isWhole(trace: readonly ReceivedSpan[], updates: number): boolean {
  const count = (wantedName: string): number => trace.filter(({ name }) => name === wantedName).length;
  const acknowledged = count('acknowledge update') >= updates && count('status update') >= updates;
  return acknowledged && wanted.every((name) => count(name) > 0) && problemsOf(trace).length === 0;
}

/** What is wrong with the shape of a trace: it is one tree, and nothing begins before its parent. */
export function problemsOf(trace: readonly ReceivedSpan[]): string[] {
  const byId = new Map(trace.map((span) => [span.spanId, span]));
  const roots = trace.filter(({ parentSpanId }) => parentSpanId === '');
  const problems = roots.length === 1 ? [] : [`${roots.length} roots: ${roots.map(({ name }) => name).join(', ')}`];
  for (const { name, service, parentSpanId, startTimeUnixNano } of trace) {
    if (parentSpanId === '') continue;
    const parent = byId.get(parentSpanId);
    if (parent === undefined) problems.push(`'${name}' of ${service} has no parent`);
    else if (startTimeUnixNano < parent.startTimeUnixNano - oneMsNs) {
      problems.push(`'${name}' of ${service} begins before its parent '${parent.name}'`);
    }
  }
  return problems;
}

/** Some times are whole ms, others are not. */
const oneMsNs = 1_000_000n;

/** The names from the root down to the first span of a name. */
export function lineage(trace: readonly ReceivedSpan[], name: string): string[] {
  const names: string[] = [];
  let at = trace.find((span) => span.name === name);
  while (at !== undefined) {
    names.unshift(at.name);
    const { parentSpanId }: ReceivedSpan = at;
    at = trace.find(({ spanId }) => spanId === parentSpanId);
  }
  return names;
}
