// The framework of the chaos runs, a process of its own: it accepts whatever it is offered until every item of work is
// done. Says all that happens on standard output, and keeps the same lines in a journal, by which a successor goes on.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { type Offer, Scheduler, type TaskStatus } from '@mesobus/sdk/scheduler';
import type { Happening, Work } from './happening.ts';

const work = JSON.parse(process.argv[2] ?? '') as Work;

/** A work item that has begun is never begun again, unless Mesobus says that it has not run. */
interface Item {
  readonly id: string;
  attempt: number;
  /** `launched`: nothing was heard of it yet. */
  phase: 'waiting' | 'launched' | 'alive' | 'done';
}

const items = Array.from({ length: work.items }, (_, n): Item => ({ id: `item-${n}`, attempt: 0, phase: 'waiting' }));
const itemOf = new Map(items.map((item) => [item.id, item]));
let frameworkId: string | undefined;
type Unstamped<T> = T extends Happening ? Omit<T, 'at'> : never;

/** Written before anything else happens: what a killed process has begun is known to its successor. */
function note(what: Unstamped<Happening>): void {
  const happening = { ...what, at: performance.timeOrigin + performance.now() } as Happening;
  const line = `${JSON.stringify(happening)}\n`;
  appendFileSync(work.journal, line);
  process.stdout.write(line);
  apply(happening);
}

function apply(happening: Happening): void {
  if (happening.kind === 'registered') frameworkId = happening.frameworkId;
  else if (happening.kind === 'launch') for (const id of happening.tasks) find(id).phase = 'launched';
  else if (happening.kind === 'status') {
    const item = find(happening.task);
    if (taskOf(item) !== happening.task) return; // of an attempt that is over
    if (happening.outcome !== 'again') item.phase = happening.outcome;
    else {
      item.phase = 'waiting';
      item.attempt += 1;
    }
  }
}

function find(task: string): Item {
  const item = itemOf.get(task.split('.')[0] as string);
  if (item === undefined) throw new Error(`a status of a task that nobody launched: ${task}`);
  return item;
}

const taskOf = ({ id, attempt }: Item): string => (attempt === 0 ? id : `${id}.${attempt}`);

/** What a status means for its item: only what has surely not run may be launched again. */
function outcomeOf({ state, reason, ended, uuid }: TaskStatus): Extract<Happening, { kind: 'status' }>['outcome'] {
  const hasNotRun =
    state === 'TASK_DROPPED' ||
    state === 'TASK_UNKNOWN' ||
    (state === 'TASK_FAILED' && reason === 'REASON_CONTAINER_LAUNCH_FAILED');
  if (hasNotRun) return 'again';
  // The answer of a reconciliation has no uuid: the update itself comes too.
  return ended && uuid !== undefined ? 'done' : 'alive';
}

/** Between the bounds, and the same for an item whoever launches it. */
function secondsOf({ id }: Item): string {
  const [least, most] = work.seconds;
  const dice = ((Number(id.slice('item-'.length)) * 2_654_435_761) % 1_000) / 1_000;
  return (least + (most - least) * dice).toFixed(2);
}

function launch(offer: Offer): void {
  const chosen = items.filter(({ phase }) => phase === 'waiting').slice(0, Math.floor(offer.amounts.cpus ?? 0));
  if (chosen.length === 0) {
    void scheduler.decline(offer, { refuseSeconds: 1 });
    return;
  }
  const tasks = chosen.map((item) => ({
    id: taskOf(item),
    command: `echo ${item.id} >> ${work.output}; exec sleep ${secondsOf(item)}`,
    resources: { cpus: 1, mem: 1 },
  }));
  const ids = tasks.map(({ id }) => id);
  note({ kind: 'launch', tasks: ids });
  scheduler.launch(offer, tasks, { refuseSeconds: 0 }).then(
    ({ logIndex }) => note({ kind: 'accepted', tasks: ids, logIndex }),
    (error: Error) => note({ kind: 'refused', tasks: ids, why: error.message }),
  );
}

// What an earlier process has begun.
if (existsSync(work.journal)) {
  for (const line of readFileSync(work.journal, 'utf8').split('\n').slice(0, -1)) apply(JSON.parse(line) as Happening);
}

const { nats, token, cluster } = work;
const scheduler = new Scheduler(
  {
    ...{ nats, token, cluster },
    framework: { name: 'chaos', failoverTimeoutMs: 600_000, ...(frameworkId !== undefined && { id: frameworkId }) },
  },
  {
    registered: (id) => note({ kind: 'registered', frameworkId: id }),
    disconnected: (why) => note({ kind: 'disconnected', why }),
    reregistered() {
      note({ kind: 'reregistered' });
      // What was told while nobody was here to hear it is not told again; what a killed process was about to launch may
      // have been launched, or not.
      const unsure = items.filter(({ phase }) => phase === 'launched');
      if (unsure.length > 0) void scheduler.reconcile(unsure.map((item) => ({ taskId: taskOf(item) })));
    },
    resourceOffers: (offers) => offers.forEach(launch),
    statusUpdate(status) {
      const { taskId: task, state, uuid = '', reason = '', message } = status;
      note({ kind: 'status', task, state, uuid, reason, message, outcome: outcomeOf(status) });
    },
    error: (error) => note({ kind: 'error', message: error.message }),
  },
);

process.on('SIGTERM', () => {
  void scheduler.stop({ timeoutMs: 5_000 }).then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
process.stdin.on('end', () => process.exit(1)).resume(); // nobody listens any more
await scheduler.start();
