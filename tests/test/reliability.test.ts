// The table of failures in docs/reliability.md names tests by their titles. It is worth something only while they exist.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';

const root = path.resolve(import.meta.dirname, '../..');
const document = 'docs/reliability.md';
const text = readFileSync(path.join(root, document), 'utf8');
/** They are numbered from 1. */
const failureCount = 90;

interface Named {
  readonly title: string;
  readonly file: string;
}

/** The tests that a piece of the document links to. */
const testsNamedIn = (markdown: string): Named[] =>
  [...markdown.matchAll(/\[([^\]]+)\]\(([^)#\s]+\.test\.ts)\)/g)].map(([, title = '', target = '']) => ({
    title: title.replaceAll(/\s+/g, ' '), // a line may end within it
    file: path.posix.normalize(path.posix.join(path.posix.dirname(document), target)),
  }));

/** `| 7 | when | what then | tests | mark |` */
const rows = text.split('\n').flatMap((line) => {
  const [number, ...cells] = line
    .split('|')
    .map((cell) => cell.trim())
    .slice(1, -1);
  return number !== undefined && /^\d+$/.test(number) ? [{ number: Number(number), cells }] : [];
});

/** `- **3, 5–7**: why not yet` */
const absent = [...text.matchAll(/^- \*\*([\d, –]+)\*\*/gm)].flatMap(([, numbers = '']) =>
  numbers.split(', ').flatMap((part) => {
    const [first = 0, last = first] = part.split('–').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  }),
);

/** The titles in a file of tests. What a title has in `${…}` may be anything. */
function titlesIn(source: string): RegExp[] {
  const titles = source.matchAll(/\btest(?:\.serial|[A-Z]\w*)?\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|`)/g);
  return [...titles].map((match) => {
    const literal = match[1] ?? match[2];
    const parts = literal === undefined ? templateParts(source, match.index + match[0].length) : [literal];
    return new RegExp(`^${parts.map((part) => escaped(part.replaceAll(/\\(.)/g, '$1'))).join('.*')}$`);
  });
}

const escaped = (plain: string): string => plain.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** What stands between the placeholders of a template that begins here. */
function templateParts(source: string, from: number): string[] {
  const parts: string[] = [];
  let part = '';
  let depth = 0;
  for (let at = from; at < source.length && (depth > 0 || source[at] !== '`'); at += 1) {
    if (source.startsWith('${', at)) {
      if (depth === 0) {
        parts.push(part);
        part = '';
      }
      depth += 1;
      at += 1;
    } else if (depth > 0) depth += { '{': 1, '}': -1 }[source.charAt(at)] ?? 0;
    else part += source.charAt(at);
  }
  return [...parts, part];
}

test('every failure by its number is in the table once, or named as not there yet', (t) => {
  const numbers = [...rows.map(({ number }) => number), ...absent].sort((a, b) => a - b);
  t.deepEqual(
    numbers,
    Array.from({ length: failureCount }, (_, index) => index + 1),
  );
});

test('every row of the table says what happens, and names a test', (t) => {
  const poor = rows.filter(
    ({ cells: [when = '', then = '', tests = '', ...rest] }) =>
      when === '' || then === '' || testsNamedIn(tests).length === 0 || rest.length !== 1,
  );
  t.deepEqual(poor, []);
});

test('every test that the table names is there, under this title', (t) => {
  const titles = new Map<string, RegExp[]>();
  const titlesOf = (file: string): RegExp[] => {
    const known = titles.get(file) ?? titlesIn(readFileSync(path.join(root, file), 'utf8'));
    titles.set(file, known);
    return known;
  };
  const missing = testsNamedIn(text).filter(({ title, file }) => !titlesOf(file).some((known) => known.test(title)));
  t.deepEqual(missing, [], `rename them in ${document} too`);
});

test('titles are found however they are written', (t) => {
  const source = [
    "test('it\\'s plain', (t) => {",
    'test.serial(\n  "in quotes",',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source code
    'test(`a ${`nested ${what}`} thing ${how ? "x" : \'y\'}`, (t) => {',
  ].join('\n');
  const [plain, quoted, made] = titlesIn(source);
  t.regex("it's plain", plain as RegExp);
  t.notRegex("it's plainer", plain as RegExp);
  t.regex('in quotes', quoted as RegExp);
  t.regex('a big thing here', made as RegExp);
  t.notRegex('a big thin here', made as RegExp);
});
