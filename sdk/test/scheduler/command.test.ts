import { mesos } from '@mesobus/protos';
import test from 'ava';
import { secretOf } from '../../src/scheduler/index.ts';
import { taskInfoOf } from '../../src/scheduler/task.ts';

test('a variable travels with its value, or with the name of the secret that has it', (t) => {
  const env = { PLAIN: 'value', DB: { secret: 'db' } };
  const command = { shell: 'true', env: { KEY: { secret: 'tls', key: 'key.pem' }, PLAIN: 'other' } };
  const { command: info } = taskInfoOf({ id: 't', command, env, resources: { cpus: 1 } }, 'a1');
  const { SECRET } = mesos.v1.Environment.Variable.Type;
  const { REFERENCE } = mesos.v1.Secret.Type;
  t.deepEqual(info?.environment?.variables, [
    { name: 'KEY', type: SECRET, secret: { type: REFERENCE, reference: { name: 'tls', key: 'key.pem' } } },
    { name: 'PLAIN', value: 'value' },
    { name: 'DB', type: SECRET, secret: secretOf({ secret: 'db' }) },
  ]);
});
