import { rmSync } from 'node:fs';
import { openNatsConnection } from '@mesobus/sdk/bus/nats-connection';
import { CommandError } from '../command-error.ts';
import type { AuthFolder } from './auth-folder.ts';
import { issueForServers, serverClaims } from './claims.ts';

const subject = '$SYS.REQ.CLAIMS.UPDATE';
const connectWaitMs = 5_000;
/** Each server answers for itself; so long after the last answer no other is waited for. */
const stallMs = 500;
const answerWaitMs = 5_000;
const passSeconds = 300;

interface Answer {
  readonly server?: { readonly name?: string };
  readonly data?: { readonly code?: number };
  readonly error?: { readonly description?: string };
}

/**
 * Tells running servers what the folder says now. They tell each other, those that are down when they come back.
 *
 * @returns the names of the servers that have taken it
 * @throws {CommandError} none has, or one has refused it
 */
export async function push(folder: AuthFolder, servers: string, nowMs: number): Promise<string[]> {
  const [, account] = (await serverClaims(folder, folder.readBook())).accounts;
  const creds = folder.write(
    ['keys', `push-${process.pid}.creds`],
    await issueForServers(folder, Math.floor(nowMs / 1000) + passSeconds),
  );
  try {
    const connection = await openNatsConnection({
      servers,
      name: 'mesobus auth',
      maxWait: connectWaitMs,
      credsFile: creds,
      tlsCaFile: folder.file('ca', 'ca.pem'),
      // Servers may ask everyone for one; that of the servers stands for clients too.
      tlsCertFile: folder.file('nats', 'tls-cert.pem'),
      tlsKeyFile: folder.file('nats', 'tls-key.pem'),
    });
    try {
      const asked = await connection.requestMany(subject, account?.jwt ?? '', {
        strategy: 'stall',
        stall: stallMs,
        maxWait: answerWaitMs,
      });
      const names: string[] = [];
      for await (const message of asked) names.push(takenBy(message.json<Answer>()));
      if (names.length > 0) return names;
    } finally {
      await connection.close();
    }
  } finally {
    rmSync(creds, { force: true });
  }
  const todo = "they must run with the 'auth.conf' of this folder";
  throw new CommandError(`Cannot tell the NATS servers at ${servers}: none answers; ${todo}`);
}

function takenBy({ server, data, error }: Answer): string {
  const name = server?.name ?? 'a server';
  if (data?.code === 200) return name;
  throw new CommandError(`Cannot tell the NATS server '${name}': ${error?.description ?? 'it has refused the claims'}`);
}
