// An executor that knows nothing of Mesobus but what Mesos' documentation says: HTTP, JSON, RecordIO, its environment.

interface Status {
  readonly task_id: { readonly value: string };
  readonly uuid: string;
}
interface Event {
  readonly type: string;
  readonly launch?: { readonly task: { readonly task_id: { readonly value: string } } };
  readonly message?: { readonly data: string };
  readonly acknowledged?: Status;
}

const env = (name: string): string => process.env[name] as string;
/** Updates that are not acknowledged. */
const updates = new Map<string, { readonly status: Status }>();
const tasks = new Set<string>();

function post(call: object): Promise<Response> {
  const ids = {
    executor_id: { value: env('MESOS_EXECUTOR_ID') },
    framework_id: { value: env('MESOS_FRAMEWORK_ID') },
  };
  return fetch(`http://${env('MESOS_AGENT_ENDPOINT')}/api/v1/executor`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Authorization: `Bearer ${env('MESOS_EXECUTOR_AUTHENTICATION_TOKEN')}`,
    },
    body: JSON.stringify({ ...ids, ...call }),
  });
}

async function update(taskId: string, state: string, message = ''): Promise<void> {
  const uuid = Buffer.from(crypto.randomUUID().replaceAll('-', ''), 'hex').toString('base64');
  const status = { task_id: { value: taskId }, state, message, source: 'SOURCE_EXECUTOR', uuid };
  updates.set(uuid, { status });
  await post({ type: 'UPDATE', update: { status } }).catch(() => undefined);
}

async function onEvent({ type, launch, message, acknowledged }: Event): Promise<void> {
  if (type === 'SHUTDOWN') process.exit(7);
  if (acknowledged) updates.delete(acknowledged.uuid);
  if (launch) {
    tasks.add(launch.task.task_id.value);
    await update(launch.task.task_id.value, 'TASK_RUNNING');
  }
  if (message) {
    const words = Buffer.from(message.data, 'base64').toString();
    const answer = `${words}: ${[...tasks]} in ${process.pid}`;
    await post({ type: 'MESSAGE', message: { data: Buffer.from(answer).toString('base64') } });
    if (words !== 'finish') return;
    for (const taskId of tasks) await update(taskId, 'TASK_FINISHED');
    tasks.clear();
  }
}

async function subscribe(): Promise<void> {
  const subscription = { unacknowledged_updates: [...updates.values()] };
  const response = await post({ type: 'SUBSCRIBE', subscribe: subscription });
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const lineEnd = rest.indexOf('\n');
      const length = Number(rest.subarray(0, lineEnd).toString());
      if (lineEnd === -1 || rest.length < lineEnd + 1 + length) break;
      void onEvent(JSON.parse(rest.subarray(lineEnd + 1, lineEnd + 1 + length).toString()) as Event);
      rest = rest.subarray(lineEnd + 1 + length);
    }
  }
}

for (;;) {
  await subscribe().catch(() => undefined);
  for (const taskId of updates.size === 0 ? tasks : []) await update(taskId, 'TASK_RUNNING', 'all alone');
  await new Promise((again) => setTimeout(again, 200));
}
