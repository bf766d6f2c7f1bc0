import { createMemoryNetwork, silentLogger, subjectsOf } from '@mesobus/sdk/bus';
import test from 'ava';
import { CommandSender } from '../src/shell/command-sender.ts';

const subjects = subjectsOf('test');
const acknowledge = (taskId: string) => ({ number: 0, acknowledgeUpdate: { task: { frameworkId: 'f', taskId } } });
const to = (incarnation: string, ...taskIds: string[]) => ({
  agentId: 'A',
  incarnation,
  commands: taskIds.map(acknowledge),
});

test('what an agent gets in the same moment goes in one request, in order; another process gets its own', async (t) => {
  const network = createMemoryNetwork();
  const agent = network.connect('agent');
  const got: string[] = [];
  const all = Promise.withResolvers<void>();
  agent.serve(subjects.agent.of('a1'), (delivery) => {
    const { incarnation, commands } = delivery.message;
    got.push(`${incarnation} ${commands.map((one) => one.acknowledgeUpdate?.task?.taskId).join()}`);
    delivery.reply({ cursor: got.length });
  });
  const answers: unknown[][] = [];
  const sender = new CommandSender({
    bus: network.connect('master'),
    subjects,
    log: silentLogger,
    onAnswered(...answer) {
      answers.push(answer);
      if (answers.length === 3) all.resolve();
    },
  });
  sender.send('a1', to('n1', 't1'));
  sender.send('a1', to('n1', 't2', 't3'));
  sender.send('a1', to('n2', 't4'));
  sender.send('a1', to('n2', ...Array.from({ length: 200 }, (_, i) => `u${i}`)));
  await all.promise;
  t.deepEqual(got.slice(0, 2), ['n1 t1,t2,t3', 'n2 t4']);
  t.is(got[2]?.split(',').length, 200);
  t.deepEqual(answers[0], ['A', 'n1', 1]);
});
