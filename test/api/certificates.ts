import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type Pair = { readonly cert: string; readonly key: string };
export type Certificates = {
  readonly ca: string;
  readonly server: Pair;
  readonly client: Pair;
  readonly stranger: Pair;
};

const openssl = (folder: string, ...args: string[]): void => {
  try {
    execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    throw absent ? new Error('openssl is absent: install it, the TLS tests make their certificates with it') : error;
  }
};

const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

const selfSigned = (folder: string, name: string): void =>
  openssl(
    folder,
    'req',
    '-x509',
    ...key,
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
  );

const issued = (folder: string, name: string, extension: string): void => {
  writeFileSync(join(folder, `${name}.cnf`), extension);
  openssl(folder, 'req', '-new', ...key, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
  const ca = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'];
  openssl(
    folder,
    'x509',
    '-req',
    '-in',
    `${name}.csr`,
    ...ca,
    '-days',
    '2',
    '-extfile',
    `${name}.cnf`,
    '-out',
    `${name}.pem`,
  );
};

/** A CA, a server for 127.0.0.1 and localhost, a client of the CA, and a client of nobody; made anew, PEM. */
export const makeCertificates = (): Certificates => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-certificates-'));
  try {
    selfSigned(folder, 'ca');
    selfSigned(folder, 'stranger');
    issued(folder, 'server', 'subjectAltName=IP:127.0.0.1,DNS:localhost');
    issued(folder, 'client', 'extendedKeyUsage=clientAuth');
    const read = (file: string): string => readFileSync(join(folder, file), 'utf8');
    const pair = (name: string): Pair => ({ cert: read(`${name}.pem`), key: read(`${name}.key`) });
    return { ca: read('ca.pem'), server: pair('server'), client: pair('client'), stranger: pair('stranger') };
  } finally {
    rmSync(folder, { recursive: true });
  }
};
