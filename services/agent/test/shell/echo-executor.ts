// An executor that says where and who it is, and ends its tasks when it is shut down.
import { writeFileSync } from 'node:fs';
import { connectExecutor } from '@mesobus/sdk/executor';

writeFileSync('env', Object.keys(process.env).sort().join('\n'));
const message = `process ${process.pid}`;
const tasks = new Set<string>();

const executor = connectExecutor({
  launchTask({ id }) {
    tasks.add(id);
    executor.sendStatusUpdate({ taskId: id, state: 'TASK_RUNNING', message, data: Buffer.from(executor.sandbox) });
  },
  killTask: (taskId) => executor.sendStatusUpdate({ taskId, state: 'TASK_KILLED', message }),
  shutdown: () => {
    for (const taskId of tasks) executor.sendStatusUpdate({ taskId, state: 'TASK_KILLED', message });
  },
});
