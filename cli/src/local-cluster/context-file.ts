import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import type { ProcessIdentity } from './process-identity.ts';

/** One process of a local cluster, as recorded. */
export interface RecordedProcess extends ProcessIdentity {
  readonly name: string;
  readonly agent: boolean;
}

/** What `context.json` of a local cluster says: how to reach it, and what runs. */
export interface LocalContext {
  /** For example `nats://127.0.0.1:40123`; several have commas between. */
  readonly nats: string;
  readonly token: string;
  readonly cluster: string;
  /** ISO 8601. */
  readonly startedAt: string;
  /** Every agent has registered. */
  readonly ready: boolean;
  /** The process that watches over the others. */
  readonly owner: ProcessIdentity;
  /** In the order in which they were started; ended in the reverse. */
  readonly processes: readonly RecordedProcess[];
}

const identity = { pid: z.int().positive(), started: z.string() };

const context: z.ZodType<LocalContext> = z.object({
  nats: z.string(),
  token: z.string(),
  cluster: z.string(),
  startedAt: z.string(),
  ready: z.boolean(),
  owner: z.object(identity),
  processes: z.array(z.object({ ...identity, name: z.string(), agent: z.boolean() })),
});

/** The context, or undefined where there is none or where it cannot be one that we wrote. */
export function readLocalContext(file: string): LocalContext | undefined {
  const read = context.safeParse(readJson(file));
  return read.success ? read.data : undefined;
}

/** Replaces the file whole. At once: a pid that is not recorded is a process that leaks. */
export function writeLocalContext(file: string, content: LocalContext): void {
  writePrivately(file, `${JSON.stringify(content, undefined, 2)}\n`);
}

/** Replaces a file whole; only its owner may read it. */
export function writePrivately(file: string, text: string): void {
  const fresh = `${file}.${process.pid}.new`;
  rmSync(fresh, { force: true });
  writeFileSync(fresh, text, { mode: 0o600, flag: 'wx' });
  renameSync(fresh, file);
}

/** What the file holds; undefined if it does not exist or holds no JSON. */
export function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
