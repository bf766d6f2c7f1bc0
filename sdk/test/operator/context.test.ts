import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { contextFile, findContext, NoContextError } from '@mesobus/sdk/operator';
import test, { type ExecutionContext } from 'ava';

function folderWith(t: ExecutionContext, content: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'mesobus-context-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  mkdirSync(path.join(folder, '.mesobus'));
  writeFileSync(path.join(folder, contextFile), content);
  return folder;
}

const file = JSON.stringify({ nats: 'nats://127.0.0.1:4242', token: 'secret', cluster: 'lab' });

test('the environment goes before the file', (t) => {
  const directory = folderWith(t, file);
  const env = { MESOBUS_NATS: 'nats://a:1, nats://b:2', MESOBUS_NATS_TOKEN: 'other' };
  t.deepEqual(findContext({ directory, env }), {
    nats: ['nats://a:1', 'nats://b:2'],
    token: 'other',
    cluster: 'main',
    from: 'the environment',
  });
});

test('the file is found in a folder above', (t) => {
  const folder = folderWith(t, file);
  const directory = path.join(folder, 'a', 'b');
  mkdirSync(directory, { recursive: true });
  t.deepEqual(findContext({ directory, env: {} }), {
    nats: ['nats://127.0.0.1:4242'],
    token: 'secret',
    cluster: 'lab',
    from: path.join(folder, contextFile),
  });
});

test('files of credentials and certificates are named by the environment, or relative to the file', (t) => {
  const names = { credsFile: 'a.creds', tlsCaFile: '/etc/ca.pem', tlsCertFile: 'c.pem', tlsKeyFile: '../k.pem' };
  const directory = folderWith(t, JSON.stringify({ nats: 'nats://a:1', ...names }));
  t.like(findContext({ directory, env: {} }), {
    credsFile: path.join(directory, '.mesobus', 'a.creds'),
    tlsCaFile: '/etc/ca.pem',
    tlsCertFile: path.join(directory, '.mesobus', 'c.pem'),
    tlsKeyFile: path.join(directory, 'k.pem'),
  });
  const env = {
    MESOBUS_NATS: 'nats://b:2',
    MESOBUS_NATS_CREDS: 'b.creds',
    MESOBUS_NATS_TLS_CA: 'ca.pem',
    MESOBUS_NATS_TLS_CERT: 'cert.pem',
    MESOBUS_NATS_TLS_KEY: '',
  };
  t.deepEqual(findContext({ directory, env }), {
    nats: ['nats://b:2'],
    credsFile: 'b.creds',
    tlsCaFile: 'ca.pem',
    tlsCertFile: 'cert.pem',
    cluster: 'main',
    from: 'the environment',
  });
});

test('without either the error says what to do', (t) => {
  const directory = folderWith(t, file);
  rmSync(path.join(directory, contextFile));
  t.throws(() => findContext({ directory, env: {} }), { instanceOf: NoContextError, message: /`mesobus up`/ });
});

for (const content of ['{', '[]', '{"cluster":"main"}', '"x"']) {
  test(`a file with ${content} is refused with its path`, (t) => {
    const directory = folderWith(t, content);
    t.throws(() => findContext({ directory, env: {} }), { instanceOf: NoContextError, message: /context\.json/ });
  });
}
