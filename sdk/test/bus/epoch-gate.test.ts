import { EpochGate } from '@mesobus/sdk/bus';
import test from 'ava';

test('the highest epoch seen is current, higher ones are newer, lower ones stale', (t) => {
  const gate = new EpochGate();
  const observe = (incarnation: number, epoch: number) => gate.observe({ incarnation, epoch });
  t.deepEqual([observe(1, 5), observe(1, 5), observe(1, 4), observe(1, 6)], ['newer', 'current', 'stale', 'newer']);
  t.deepEqual(gate.highest, { incarnation: 1, epoch: 6 });
});

test('a higher incarnation outranks every epoch of a lower one', (t) => {
  const gate = new EpochGate({ incarnation: 1, epoch: 900 });
  t.is(gate.observe({ incarnation: 2, epoch: 1 }), 'newer');
  t.is(gate.observe({ incarnation: 1, epoch: 901 }), 'stale');
});
