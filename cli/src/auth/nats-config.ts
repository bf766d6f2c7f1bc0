import path from 'node:path';
import type { ServerClaims } from './claims.ts';

/** What the configuration of every nats-server includes: who is let in, and that nothing goes unencrypted. */
export function authConfig({ operator, accounts, systemAccount }: ServerClaims, serverDir: string): string {
  const preload = accounts.map(({ publicKey, jwt }) => `  ${publicKey}: "${jwt}"`);
  return `# Written by 'mesobus auth'; include it in the configuration of every nats-server, and change nothing here.
operator: "${operator}"
system_account: ${systemAccount}
# The servers keep here what 'mesobus auth revoke' tells them: they must be able to write it.
resolver {
  type: full
  dir: ${JSON.stringify(path.join(serverDir, 'jwt'))}
  allow_delete: false
  interval: "2m"
}
resolver_preload {
${preload.join('\n')}
}
${tlsConfig(serverDir, '')}`;
}

/** For the block 'cluster' of the servers: they show each other their certificates. */
export const routeConfig = (serverDir: string): string =>
  `# Written by 'mesobus auth'; include it in the block 'cluster' of every nats-server.
${tlsConfig(serverDir, '  verify: true\n')}`;

const tlsConfig = (serverDir: string, more: string): string => `tls {
  cert_file: ${JSON.stringify(path.join(serverDir, 'tls-cert.pem'))}
  key_file: ${JSON.stringify(path.join(serverDir, 'tls-key.pem'))}
  ca_file: ${JSON.stringify(path.join(serverDir, 'tls-ca.pem'))}
  timeout: 5
${more}}
`;
