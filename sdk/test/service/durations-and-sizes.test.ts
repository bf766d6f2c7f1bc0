import { formatDuration, formatSize, parseDuration, parseSize } from '@mesobus/sdk/service';
import test from 'ava';
import fc from 'fast-check';

const durations: [string, number | undefined][] = [
  ['500ms', 500],
  ['5s', 5_000],
  ['5secs', 5_000],
  ['1.5secs', 1_500],
  ['10mins', 600_000],
  ['1hrs', 3_600_000],
  ['2 days', 172_800_000],
  ['1weeks', 604_800_000],
  ['1500us', 2],
  ['0ns', 0],
  ['1ns', undefined],
  ['5', undefined],
  ['', undefined],
  ['-5s', undefined],
  ['5 parsecs', undefined],
  ['1h30m', undefined],
  ['5constructor', undefined],
  ['99999999999weeks', undefined],
];
for (const [text, milliseconds] of durations) {
  test(`the duration '${text}' is ${milliseconds === undefined ? 'refused' : `${milliseconds} ms`}`, (t) => {
    t.is(parseDuration(text), milliseconds);
  });
}

const sizes: [string, number | undefined][] = [
  ['64KB', 65_536],
  ['512B', 512],
  ['1.5GB', 1_610_612_736],
  ['1tb', 1_099_511_627_776],
  ['0B', 0],
  ['0.3B', undefined],
  ['64', undefined],
  ['64KiB', undefined],
  ['-1KB', undefined],
];
for (const [text, bytes] of sizes) {
  test(`the size '${text}' is ${bytes === undefined ? 'refused' : `${bytes} bytes`}`, (t) => {
    t.is(parseSize(text), bytes);
  });
}

test('what is written of any duration or size reads as the same again', (t) => {
  const law = fc.property(fc.nat({ max: 2 ** 45 }), (amount) => {
    return parseDuration(formatDuration(amount)) === amount && parseSize(formatSize(amount)) === amount;
  });
  t.notThrows(() => fc.assert(law));
});
