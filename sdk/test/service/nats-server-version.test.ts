import test from 'ava';
import { isOlder } from '../../src/service/nats-server-version.ts';

for (const [version, older] of [
  ['2.9.10', true],
  ['2.9.20', true],
  ['2.9.21', false],
  ['v2.9.22', false],
  ['2.10.0-RC.1', false],
  ['3.0.0', false],
  ['1.99.99', true],
  ['unheard-of', true],
] as const) {
  test(`nats-server ${version} is ${older ? '' : 'not '}older than 2.9.21`, (t) => {
    t.is(isOlder(version, '2.9.21'), older);
  });
}
