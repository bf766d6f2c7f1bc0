import test from 'ava';
import { DetachKeys } from '../src/container/detach-keys.ts';

/** What goes on of some keystrokes, and whether they leave. */
function type(...pieces: string[]): string {
  const keys = new DetachKeys();
  let text = '';
  for (const piece of pieces) {
    const { data, detached } = keys.take(Buffer.from(piece));
    text += Buffer.from(data).toString();
    if (detached) return `${text}!`;
  }
  return text;
}

const cases: readonly (readonly [pieces: string[], outcome: string])[] = [
  [['hello'], 'hello'],
  [['ab\u0010\u0011cd'], 'ab!'],
  [['ab\u0010', '\u0011'], 'ab!'],
  [['\u0010', 'x'], '\u0010x'],
  [['\u0011'], '\u0011'],
  [['\u0010\u0010\u0011'], '\u0010!'],
];
for (const [pieces, outcome] of cases) {
  test(`${JSON.stringify(pieces)} typed at a task ${outcome.endsWith('!') ? 'leaves it' : 'reaches it'}`, (t) => {
    t.is(type(...pieces), outcome);
  });
}
