#!/usr/bin/env node
/*
 * The other half of a framework: the executor, which runs its tasks. The agent starts this program for the first task that
 * names it, hands it every further one, and ends it with the framework. Where the agent is, stands in its environment.
 *
 * What a task is, is between the scheduler and the executor. Here it is a line to say and then to wait for leave to go.
 */
import { connectExecutor } from '@mesobus/sdk/executor';

/** Tasks that wait for leave to go. */
const running = new Set<string>();

const executor = connectExecutor({
  registered: ({ hostname }) => console.log(`registered on ${hostname}`),

  // The agent was away and is back; the tasks went on. Nothing is to be done: updates that it may have missed are sent again.
  reregistered: ({ hostname }) => console.log(`registered again on ${hostname}`),
  disconnected: (why) => console.log(`the agent is away: ${why}`),

  launchTask({ id, data }) {
    running.add(id);
    console.log(`${id}: ${Buffer.from(data)}`);
    // A task has no state until its executor says one. This is kept and repeated until the agent has written it down.
    executor.sendStatusUpdate({ taskId: id, state: 'TASK_RUNNING' });
  },

  killTask(taskId) {
    if (running.delete(taskId)) executor.sendStatusUpdate({ taskId, state: 'TASK_KILLED' });
  },

  frameworkMessage(data) {
    const question = Buffer.from(data).toString();
    console.log(`the scheduler says: ${question}`);
    if (question === 'How are you?') {
      const tasks = [...running].sort().join(', ');
      // A message may be lost, in both directions. The scheduler asks again if this one is.
      executor.sendFrameworkMessage(`${tasks} are well in process ${process.pid}`).catch(() => undefined);
    } else if (question === 'You may go') {
      for (const taskId of running) executor.sendStatusUpdate({ taskId, state: 'TASK_FINISHED' });
      running.clear();
    }
  },

  // The framework is gone, or wants this executor no more. It ends when the agent has these updates.
  shutdown() {
    for (const taskId of running) executor.sendStatusUpdate({ taskId, state: 'TASK_KILLED' });
    running.clear();
  },
});

const { kind, message } = await executor.ended;
console.log(`${kind}: ${message}`);
