// A framework that a test kills: `node fragile-framework.ts <nats> <token> <cluster> <file> [frameworkId]`. It launches ten
// tasks that each say their id into the file, wait until `<file>.go` is there, and end. One JSON line for each thing it hears.
import { Scheduler } from '@mesobus/sdk/scheduler';

const [nats = '', token = '', cluster = '', file = '', id] = process.argv.slice(2);
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
let left = id === undefined ? 10 : 0;

const scheduler = new Scheduler(
  {
    nats,
    token,
    cluster,
    framework: { name: 'fragile', failoverTimeoutMs: 600_000, ...(id !== undefined && { id }) },
  },
  {
    registered: (frameworkId) => say({ registered: frameworkId }),
    reregistered: async () => {
      say({ reregistered: true });
      await scheduler.reconcile();
    },
    async resourceOffers(offers) {
      for (const offer of offers) {
        const room = Math.min(left, Math.floor((offer.amounts.cpus ?? 0) / 0.1));
        const tasks = Array.from({ length: room }, () => ({
          id: `task-${left--}`,
          command: `echo $MESOS_TASK_ID >> ${file}; until [ -e ${file}.go ]; do sleep 0.1; done`,
          resources: { cpus: 0.1, mem: 10 },
        }));
        if (tasks.length === 0) await scheduler.decline(offer);
        else await scheduler.launch(offer, tasks);
      }
    },
    error: (error) => say({ ended: error.message }),
    statusUpdate: ({ taskId, state, reason }) => say({ taskId, state, reason }),
  },
);
await scheduler.run().catch(() => {
  process.exitCode = 1;
});
