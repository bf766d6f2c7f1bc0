import { encodeRecord, MalformedRecordError, RecordDecoder } from '@mesobus/sdk/record-io';
import test from 'ava';
import fc from 'fast-check';

test('records come out as they went in, however the stream is cut into pieces', (t) => {
  const law = fc.property(
    fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
    fc.array(fc.nat({ max: 12 }), { minLength: 1, maxLength: 20 }),
    (records, cuts) => {
      const stream = Buffer.concat(records.map(encodeRecord));
      const decoder = new RecordDecoder();
      const found: Uint8Array[] = [];
      for (let at = 0, cut = 0; at < stream.length; cut += 1) {
        const next = at + 1 + (cuts[cut % cuts.length] as number);
        found.push(...decoder.push(stream.subarray(at, next)));
        at = next;
      }
      decoder.end();
      return Buffer.concat(found.map(encodeRecord)).equals(stream);
    },
  );
  t.notThrows(() => fc.assert(law));
});

test('empty lines between records are let pass', (t) => {
  t.deepEqual(
    new RecordDecoder().push(Buffer.from('\n2\nab\n1\nc')).map(String),
    [Buffer.from('ab'), Buffer.from('c')].map(String),
  );
});

for (const text of ['x', '-1\n', '1 \n', `${'1'.repeat(21)}`, '2000\n']) {
  test(`'${text.trim()}' is not the length of a record of at most 1000 bytes`, (t) => {
    t.throws(() => new RecordDecoder(1000).push(Buffer.from(text)), { instanceOf: MalformedRecordError });
  });
}

test('a stream that ends within a record is cut short', (t) => {
  for (const text of ['3', '3\nab']) {
    const decoder = new RecordDecoder();
    decoder.push(Buffer.from(text));
    t.throws(() => decoder.end(), { instanceOf: MalformedRecordError });
  }
});
