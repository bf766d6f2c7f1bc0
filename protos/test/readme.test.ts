import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

test('the example of the README runs as it stands', async (t) => {
  const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  t.regex(example, /assert/);
  // Inside the package, so that its name resolves.
  const folder = mkdtempSync(join(import.meta.dirname, '.readme-'));
  try {
    const path = join(folder, 'example.ts');
    writeFileSync(path, example);
    await t.notThrowsAsync(import(path));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
