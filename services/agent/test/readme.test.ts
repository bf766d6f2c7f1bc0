import { initialState, step } from '@mesobus/agent/core';
import test from 'ava';

test('the example of the README prints what it says', (t) => {
  const state = initialState({
    agentName: 'a',
    version: '1',
    incarnation: 'i1',
    bootId: 'b1',
    info: { hostname: 'a' },
    registrationKey: 'k1',
    uuid: (count) => new Uint8Array(16).fill(count),
    seed: 1,
  });
  const effects = step(state, 1_000, { kind: 'recovered', records: [], found: [] });
  t.deepEqual(
    effects.map(({ kind }) => kind),
    ['append'],
  );
});
