import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openNatsConnection } from '@mesobus/sdk/bus/nats-connection';
import { startNatsServer, type TestNatsServer } from '@mesobus/sdk/testing';
import { init } from '../../src/auth/auth.ts';
import { AuthFolder } from '../../src/auth/auth-folder.ts';

export type Connection = Awaited<ReturnType<typeof openNatsConnection>>;

/** A nats-server with the configuration that `mesobus auth init` makes. */
export interface NatsWithAuth extends AsyncDisposable {
  readonly server: TestNatsServer;
  readonly folder: AuthFolder;
  readonly ca: string;
  /** Connects with a file of credentials. */
  connect(credsFile: string): Promise<Connection>;
}

export async function startNatsWithAuth(): Promise<NatsWithAuth> {
  const dir = mkdtempSync(path.join(tmpdir(), 'mesobus-auth-'));
  const folder = new AuthFolder(path.join(dir, 'auth'));
  await init(folder, { cluster: 'main', hosts: [] }, Date.now());
  const server = await startNatsServer({ jetstream: true, config: folder.read('nats', 'auth.conf') });
  const ca = folder.file('nats', 'tls-ca.pem');
  return {
    server,
    folder,
    ca,
    connect: (credsFile) => openNatsConnection({ servers: server.url, name: 'test', credsFile, tlsCaFile: ca }),
    async [Symbol.asyncDispose]() {
      await server.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
