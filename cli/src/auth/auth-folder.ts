import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type ClientKind, clientKinds } from '@mesobus/sdk/bus';
import { z } from 'zod';
import { CommandError } from '../command-error.ts';
import { writePrivately } from '../local-cluster/context-file.ts';
import { type AclsJson, firstAcls } from './role-acls.ts';

/** Something that lets one client in until it expires or is revoked; all times in seconds since 1970. */
export interface Pass {
  /** Of the key that the client holds. */
  readonly publicKey: string;
  readonly issuedAt: number;
  readonly expiresAt?: number | undefined;
  readonly revokedAt?: number | undefined;
}

export interface Client {
  readonly kind: ClientKind;
  readonly name: string;
  readonly passes: readonly Pass[];
}

/** Those of its passes that let a client in. */
export const standing = ({ passes }: Client, nowMs: number): readonly Pass[] =>
  passes.filter(
    ({ revokedAt, expiresAt = Number.POSITIVE_INFINITY }) => revokedAt === undefined && expiresAt * 1000 > nowMs,
  );

/** What was given out. */
export interface Book {
  readonly cluster: string;
  /** Where the servers find the folder `nats`. */
  readonly serverDir: string;
  /** Names and addresses of the servers, for their certificate. */
  readonly hosts: readonly string[];
  readonly clients: readonly Client[];
}

const seconds = z.int().positive();
const pass = z.object({
  publicKey: z.string(),
  issuedAt: seconds,
  expiresAt: seconds.optional(),
  revokedAt: seconds.optional(),
});
const client = z.object({ kind: z.enum(clientKinds), name: z.string().min(1), passes: z.array(pass) });
const book: z.ZodType<Book> = z.object({
  cluster: z.string(),
  serverDir: z.string(),
  hosts: z.array(z.string()),
  clients: z.array(client),
});

/** The folder of `mesobus auth`: whoever can read it can make credentials for anything. */
export class AuthFolder {
  readonly path: string;

  constructor(folder: string) {
    this.path = path.resolve(folder);
  }

  file(...names: readonly string[]): string {
    return path.join(this.path, ...names);
  }

  get exists(): boolean {
    return existsSync(this.file('book.json'));
  }

  /** Only its owner can read what is written. */
  write(names: readonly string[], text: string): string {
    const file = this.file(...names);
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    writePrivately(file, text);
    return file;
  }

  /** @throws {CommandError} it cannot be read */
  read(...names: readonly string[]): string {
    const file = this.file(...names);
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      const todo = 'name the folder of `mesobus auth init` with --dir, as a user who can read it';
      throw new CommandError(`Cannot read '${file}': ${(error as Error).message}; ${todo}`, 1, { cause: error });
    }
  }

  /** @throws {CommandError} the file holds no JSON object */
  readAcls(): AclsJson {
    if (!existsSync(this.file('acls.json'))) return firstAcls;
    try {
      return z.record(z.string(), z.unknown()).parse(JSON.parse(this.read('acls.json')));
    } catch (error) {
      if (error instanceof CommandError) throw error;
      const why = `it holds no ACLs (${(error as Error).message})`;
      throw new CommandError(`Cannot use '${this.file('acls.json')}': ${why}; mend it`, 1, { cause: error });
    }
  }

  writeAcls(acls: AclsJson): void {
    this.write(['acls.json'], `${JSON.stringify(acls, undefined, 2)}\n`);
  }

  readBook(): Book {
    const text = this.read('book.json');
    try {
      return book.parse(JSON.parse(text));
    } catch (error) {
      const todo = 'restore it from a copy: without it nothing can be revoked';
      throw new CommandError(`Cannot use '${this.file('book.json')}': it is damaged; ${todo}`, 1, { cause: error });
    }
  }

  writeBook(content: Book): void {
    this.write(['book.json'], `${JSON.stringify(content, undefined, 2)}\n`);
  }
}
