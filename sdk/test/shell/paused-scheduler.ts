// A scheduler that a test stops for a while: `node paused-scheduler.ts <nats>`. One JSON line for each thing it hears.
import { connectNats } from '@mesobus/sdk/bus';
import { Scheduler } from '@mesobus/sdk/scheduler';

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const bus = await connectNats({ servers: process.argv[2] ?? '', name: 'paused', reconnectWaitMs: 100, jitterMs: 0 });
const scheduler = new Scheduler(
  { bus, framework: { name: 'paused', user: 'u', failoverTimeoutMs: 60_000 } },
  {
    registered: () => say({ kind: 'registered' }),
    reregistered: () => say({ kind: 'reregistered' }),
    disconnected: (why) => say({ kind: 'disconnected', why }),
    frameworkMessage: (agentId) => say({ kind: 'message', agentId }),
  },
);
await scheduler.run();
