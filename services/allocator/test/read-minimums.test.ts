import { ConfigError } from '@mesobus/sdk/service';
import test from 'ava';
import { readMinimums } from '../src/shell/read-minimums.ts';

const cases = [
  ['cpus:0.01|mem:32', [{ cpus: 10 }, { mem: 32_000 }]],
  ['cpus:1;mem:64 | gpus:1', [{ cpus: 1_000, mem: 64_000 }, { gpus: 1_000 }]],
  ['', []],
] as const;
for (const [text, minimums] of cases) {
  test(`'${text}' is read as ${JSON.stringify(minimums)}`, (t) => {
    t.deepEqual(readMinimums(text), [...minimums]);
  });
}

test('what is no amount is refused with what is wrong and how it is written', (t) => {
  const error = t.throws(() => readMinimums('cpus:1|mem:x'), { instanceOf: ConfigError });
  t.regex(error?.message ?? '', /--min-allocatable-resources: 'mem:x': .*write amounts such as/);
});
