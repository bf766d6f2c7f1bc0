import test from 'ava';
import { ageOf, percentOf, shortened } from '../src/output/humane.ts';
import { renderTable } from '../src/output/table.ts';

interface Row {
  readonly name: string;
  readonly size: number;
}

const columns = [
  { head: 'name', cell: ({ name }: Row) => name },
  { head: 'size', align: 'right', cell: ({ size }: Row) => size },
] as const;

test('a table has heads in capitals, aligned columns, and neither borders nor colours nor spaces at the end', (t) => {
  const rows = [
    { name: 'stdout', size: 4 },
    { name: 'a', size: 12_345 },
  ];
  t.is(renderTable(columns, rows), 'NAME     SIZE\nstdout      4\na       12345\n');
});

test('a table without rows is its heads', (t) => {
  t.is(renderTable(columns, []), 'NAME  SIZE\n');
});

test('what others have named cannot break a line or move the cursor', (t) => {
  t.is(renderTable(columns, [{ name: 'a\n\u001b[2Jb', size: 1 }]), 'NAME    SIZE\na [2Jb     1\n');
});

const ages = [
  [0, '0s'],
  [999, '0s'],
  [59_000, '59s'],
  [60_000, '1m'],
  [725_000, '12m5s'],
  [3_600_000 + 5000, '1h'],
  [90_061_000, '1d1h'],
  [-5000, '0s'],
] as const;
for (const [ms, age] of ages) {
  test(`what was ${ms} ms ago is ${age} old`, (t) => {
    t.is(ageOf(new Date(1_000_000_000_000 - ms), 1_000_000_000_000), age);
  });
}

test('a fraction is shown with one digit behind the point at most', (t) => {
  t.deepEqual([percentOf(0), percentOf(1 / 3), percentOf(1)], ['0%', '33.3%', '100%']);
});

test('a text that is too long ends in an ellipsis and has the length allowed', (t) => {
  t.is(shortened('abcdef', 6), 'abcdef');
  t.is(shortened('abcdefg', 6), 'abcde…');
});
