import type { TaskStory, TaskUpdate } from '@mesobus/sdk/operator';

/** A part of what became of a task: when it was, how long it took, and what came of it. Times are in ms since 1970. */
export interface Branch {
  readonly name: string;
  readonly atMs: number;
  /** Absent for what has no length, or has not ended. */
  readonly tookMs?: number;
  readonly detail: string;
  readonly below: readonly Branch[];
}

/** The trace of a task as the log tells it, in the shape in which its services write it. */
export function storyTree(story: TaskStory): Branch {
  const { allocation, offeredAtMs, acceptedAtMs, committed, role, agentId, frameworkId } = story;
  const commit: Branch[] = committed
    ? [branch('commit', acceptedAtMs, `entry ${committed.logIndex} of the log`, { untilMs: committed.atMs })]
    : [];
  const events = [
    ...story.kills.map(({ atMs, principal, why }) =>
      branch('kill', atMs, [principal === '' ? 'by the master' : `by '${principal}'`, why].filter(Boolean).join(': ')),
    ),
    ...story.updates.map(updateBranch),
    ...(story.removedAtMs === undefined ? [] : [branch('forgotten', story.removedAtMs, 'it left the ledger')]),
  ].sort((a, b) => a.atMs - b.atMs);
  const accept = branch('accept', acceptedAtMs, `by framework ${frameworkId}`, { below: [...commit, ...events] });
  const offered = { untilMs: acceptedAtMs, below: [accept] };
  const offer = branch('offer', offeredAtMs, `of agent ${agentId}, role ${role}`, offered);
  return branch('allocate', allocation.beganAtMs, '', { untilMs: allocation.decidedAtMs, below: [offer] });
}

function updateBranch({ status, saidAtMs, takenAtMs, acknowledgedAtMs }: TaskUpdate): Branch {
  const { state, reason, message } = status;
  const detail = [reason, message].filter(Boolean).join(': ');
  const taken = branch('taken', takenAtMs, 'by the master');
  const acknowledged = acknowledgedAtMs === undefined ? [] : [branch('acknowledged', acknowledgedAtMs, '')];
  const untilMs = acknowledgedAtMs ?? takenAtMs;
  return branch(state, Math.min(saidAtMs, takenAtMs), detail, { untilMs, below: [taken, ...acknowledged] });
}

function branch(
  name: string,
  atMs: number,
  detail: string,
  { untilMs, below = [] }: { readonly untilMs?: number; readonly below?: readonly Branch[] } = {},
): Branch {
  const took = untilMs === undefined ? {} : { tookMs: Math.max(0, round(untilMs - atMs)) };
  return { name, atMs: round(atMs), ...took, detail, below };
}

const round = (ms: number): number => Math.round(ms * 10) / 10;

/** As people read it: a line each, with the time since the first, and how long it took. */
export function renderTree(tree: Branch): string {
  const rows: { readonly text: string; readonly since: string; readonly took: string; readonly detail: string }[] = [];
  const walk = (at: Branch, lead: string, below: string): void => {
    const took = at.tookMs === undefined ? '' : spanText(at.tookMs);
    rows.push({ text: lead + at.name, since: `+${spanText(at.atMs - tree.atMs)}`, took, detail: at.detail });
    for (const [index, next] of at.below.entries()) {
      const isLast = index === at.below.length - 1;
      walk(next, `${below}${isLast ? '└─ ' : '├─ '}`, `${below}${isLast ? '   ' : '│  '}`);
    }
  };
  walk(tree, '', '');
  const width = (of: (row: (typeof rows)[number]) => string): number => Math.max(...rows.map((row) => of(row).length));
  const [text, since, took] = [width((row) => row.text), width((row) => row.since), width((row) => row.took)];
  const lines = rows.map((row) =>
    `${row.text.padEnd(text)}  ${row.since.padStart(since)}  ${row.took.padStart(took)}  ${row.detail}`.trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** `0.4ms`, `35ms`, `1.2s`, `3m20s`. */
function spanText(ms: number): string {
  if (ms < 10) return `${Math.round(ms * 10) / 10}ms`;
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)}s`;
  const seconds = Math.round(ms / 1_000);
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  return `${hours > 0 ? `${hours}h` : ''}${minutes}m${seconds % 60}s`;
}
