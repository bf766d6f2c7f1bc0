import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';
import type { AuthFolder } from './auth-folder.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const msPerYear = 365 * 86_400_000;
const caYears = 10;
/** What browsers and others take at most. */
const certificateYears = 2;

interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

const serial = (): string => `00${randomBytes(15).toString('hex')}`;

async function keyPair(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

/** A certificate that vouches for others. */
export async function makeAuthority(cluster: string, nowMs: number): Promise<Certificate> {
  const keys = await keyPair();
  const { digitalSignature, keyCertSign, cRLSign } = x509.KeyUsageFlags;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=Mesobus ${cluster} CA`,
    notBefore: new Date(nowMs - 3_600_000), // a clock may be behind
    notAfter: new Date(nowMs + caYears * msPerYear),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(digitalSignature | keyCertSign | cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString('pem'), key: await pemOf(keys.privateKey) };
}

/**
 * A certificate by the authority of the folder.
 *
 * @param hosts - names and addresses that it stands for; a client needs none
 */
export async function makeCertificate(
  folder: AuthFolder,
  name: string,
  hosts: readonly string[],
  nowMs: number,
): Promise<Certificate> {
  const authority = new x509.X509Certificate(folder.read('ca', 'ca.pem'));
  const signingKey = await importKey(folder.read('ca', 'ca-key.pem'));
  const keys = await keyPair();
  const names = hosts.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value }));
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: [{ CN: [name] }],
    issuer: authority.subject,
    notBefore: new Date(nowMs - 3_600_000),
    notAfter: new Date(Math.min(nowMs + certificateYears * msPerYear, authority.notAfter.getTime())),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(names.length === 0 ? [clientAuth] : [serverAuth, clientAuth]),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
      await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString('pem'), key: await pemOf(keys.privateKey) };
}

function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const bytes = x509.PemConverter.decodeFirst(pem);
  return webcrypto.subtle.importKey('pkcs8', bytes, algorithm, false, ['sign']);
}
