// An executor on the SDK: it answers whatever the scheduler says with its tasks and its pid, and ends them when told to.
import { connectExecutor } from '@mesobus/sdk/executor';

const tasks = new Set<string>();

const executor = connectExecutor({
  launchTask({ id }) {
    tasks.add(id);
    executor.sendStatusUpdate({ taskId: id, state: 'TASK_RUNNING' });
  },
  killTask(taskId) {
    if (tasks.delete(taskId)) executor.sendStatusUpdate({ taskId, state: 'TASK_KILLED' });
  },
  frameworkMessage(data) {
    const words = Buffer.from(data).toString();
    executor.sendFrameworkMessage(`${words}: ${[...tasks]} in ${process.pid}`).catch(() => undefined);
    if (words !== 'finish') return;
    for (const taskId of tasks) executor.sendStatusUpdate({ taskId, state: 'TASK_FINISHED' });
    tasks.clear();
  },
  disconnected() {
    for (const taskId of tasks) executor.sendStatusUpdate({ taskId, state: 'TASK_RUNNING', message: 'all alone' });
  },
});

const { kind } = await executor.ended;
process.exitCode = kind === 'shutdown' ? 7 : 1;
