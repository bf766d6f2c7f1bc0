import type { TaskStory, TaskUpdate } from '@mesobus/sdk/operator';
import test from 'ava';
import { renderTree, storyTree } from '../src/trace/story-tree.ts';

const at = 1_700_000_000_000;
const update = (state: string, saidAtMs: number, more: Partial<TaskUpdate> = {}): TaskUpdate => ({
  status: { state, message: '' } as TaskUpdate['status'],
  saidAtMs,
  takenAtMs: saidAtMs + 2,
  ...more,
});
const story: TaskStory = {
  frameworkId: 'f1',
  taskId: 't1',
  agentId: 'S0',
  role: 'ads',
  traceId: 'a'.repeat(32),
  allocation: { beganAtMs: at, decidedAtMs: at + 3 },
  offeredAtMs: at + 4,
  acceptedAtMs: at + 20,
  committed: { atMs: at + 26, logIndex: 7 },
  updates: [update('TASK_RUNNING', at + 60, { acknowledgedAtMs: at + 70 }), update('TASK_KILLED', at + 95_000)],
  kills: [{ atMs: at + 94_000, principal: 'ops', why: '' }],
};

test('what became of a task is a tree in the order of time, with how long each part took', (t) => {
  t.deepEqual(renderTree(storyTree(story)).split('\n'), [
    'allocate                    +0ms   3ms',
    '└─ offer                    +4ms  16ms  of agent S0, role ads',
    '   └─ accept               +20ms        by framework f1',
    '      ├─ commit            +20ms   6ms  entry 7 of the log',
    '      ├─ TASK_RUNNING      +60ms  10ms',
    '      │  ├─ taken          +62ms        by the master',
    '      │  └─ acknowledged   +70ms',
    "      ├─ kill             +1m34s        by 'ops'",
    '      └─ TASK_KILLED      +1m35s   2ms',
    '         └─ taken         +1m35s        by the master',
    '',
  ]);
});

test('of a launch that the history does not have any more the tree has what the ledger knows', (t) => {
  const { committed: _, ...old } = story;
  const tree = storyTree({ ...old, updates: [], kills: [], removedAtMs: at + 200_000 });
  t.deepEqual(
    tree.below[0]?.below[0]?.below.map(({ name }) => name),
    ['forgotten'],
  );
});
