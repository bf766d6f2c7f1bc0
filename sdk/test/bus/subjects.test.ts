import assert from 'node:assert/strict';
import { decodeToken, encodeToken, subjectsOf } from '@mesobus/sdk/bus';
import test from 'ava';
import fc from 'fast-check';

test('every id becomes one plain token and comes back', (t) => {
  const law = fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), (id) => {
    const token = encodeToken(id);
    assert.match(token, /^[A-Za-z0-9_=-]+$/);
    assert.equal(decodeToken(token), id);
  });
  t.notThrows(() => fc.assert(law));
});

test('an empty id is refused: no subject can say it', (t) => {
  t.throws(() => encodeToken(''), { instanceOf: TypeError });
});

test('a token that nobody has encoded stays as it is', (t) => {
  t.deepEqual(['a=', 'a=G0', '=4'].map(decodeToken), ['a=', 'a=G0', '=4']);
});

test('the subjects of a cluster carry its name and the id', (t) => {
  const subjects = subjectsOf('main');
  t.is(subjects.heartbeat.of('rack 1').subject, 'mesobus.main.heartbeat.rack=201');
  t.is(subjects.heartbeat.any.subject, 'mesobus.main.heartbeat.*');
  t.is(subjects.schedulerEvents('ops', 'i.1').subject, 'mesobus.main.scheduler.ops.i=2e1');
});
