// A real Vault in dev mode: in memory, unsealed, with the transit engine mounted.
import { createPublicKey, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './peer.ts';
import { answers, freePort, startPeer } from './process.ts';

export type VaultKeyType =
  | 'ecdsa-p256'
  | 'ecdsa-p384'
  | 'ecdsa-p521'
  | 'ed25519'
  | 'rsa-2048'
  | 'rsa-3072'
  | 'rsa-4096';

export interface VaultAnswer<Body> {
  readonly status: number;
  /** The parsed JSON, or undefined for an empty answer. */
  readonly body: Body;
}

export interface Vault {
  readonly addr: string;
  readonly port: number;
  /** A root token. */
  readonly token: string;
  /** VAULT_ADDR and VAULT_TOKEN, as cosign's hashivault:// keys want them. */
  readonly env: Readonly<Record<string, string>>;
  /** Any request, with the root token; `path` is what follows /v1/. Every status is an answer; the body is taken to be a Body. */
  request<Body = unknown>(method: string, path: string, body?: unknown): Promise<VaultAnswer<Body>>;
  /** Makes a transit key and returns the public key of its newest version as PEM. */
  createKey(name: string, type: VaultKeyType): Promise<string>;
  /** The public key of one version (the newest without `version`) as PEM. */
  publicKey(name: string, version?: number): Promise<string>;
  stop(): Promise<void>;
}

interface TransitKey {
  readonly type: VaultKeyType;
  readonly latest_version: number;
  readonly keys: Readonly<Record<number, { readonly public_key: string }>>;
}

/** The two listeners of `startVault` with TLS: the strict one lets nobody in without a certificate of the CA. */
export interface TlsAddresses {
  readonly open: string;
  readonly strict: string;
}

/** PEM: a server certificate for 127.0.0.1, and the CA of the clients. */
export interface VaultTls {
  readonly server: { readonly cert: string; readonly key: string };
  readonly ca: string;
}

/** As `startVault`, with TLS listeners beside the plain one. */
export async function startVaultWithTls(tls: VaultTls): Promise<Vault & { readonly tls: TlsAddresses }> {
  const folder = temporaryFolder('vault-tls');
  const file = (name: string, content: string): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const files = `tls_cert_file = "${file('server.crt', tls.server.cert)}"
    tls_key_file = "${file('server.key', tls.server.key)}"`;
  const strictly = `tls_require_and_verify_client_cert = true
    tls_client_ca_file = "${file('ca.crt', tls.ca)}"`;
  const [open, strict] = [await freePort(), await freePort()];
  const listener = (port: number, more: string): string => `listener "tcp" {
    address = "127.0.0.1:${port}"
    ${more}
  }\n`;
  const config = file('listeners.hcl', `${listener(open, files)}${listener(strict, `${files}\n${strictly}`)}`);
  const vault = await startVault(['-config', config]);
  return { ...vault, tls: { open: `https://127.0.0.1:${open}`, strict: `https://127.0.0.1:${strict}` } };
}

export async function startVault(more: readonly string[] = []): Promise<Vault> {
  const token = randomUUID(); // a Vault of another test on the same port would not know it
  const headers = { 'X-Vault-Token': token };
  const running = await startPeer('vault', {
    args: (port) => [
      'server',
      '-dev',
      `-dev-root-token-id=${token}`,
      `-dev-listen-address=127.0.0.1:${port}`,
      '-dev-no-store-token',
      ...more,
    ],
    ready: (port) => answers(`http://127.0.0.1:${port}/v1/auth/token/lookup-self`, 200, headers),
  });
  const addr = `http://127.0.0.1:${running.port}`;

  const request = async <Body>(method: string, path: string, body?: unknown): Promise<VaultAnswer<Body>> => {
    const response = await fetch(`${addr}/v1/${path}`, {
      method,
      headers,
      signal: AbortSignal.timeout(10_000),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  };
  const must = async <Body>(method: string, path: string, body?: unknown): Promise<Body> => {
    const answer = await request<Body>(method, path, body);
    if (answer.status < 300) return answer.body;
    throw new Error(`Vault: ${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  };
  const publicKey = async (name: string, version?: number): Promise<string> => {
    const { data } = await must<{ data: TransitKey }>('GET', `transit/keys/${name}`);
    const key = data.keys[version ?? data.latest_version];
    if (key === undefined) throw new Error(`Vault: key ${name} has no version ${version}`);
    return data.type === 'ed25519' ? ed25519Pem(key.public_key) : key.public_key;
  };

  await must('POST', 'sys/mounts/transit', { type: 'transit' });
  return {
    addr,
    port: running.port,
    token,
    env: { VAULT_ADDR: addr, VAULT_TOKEN: token },
    request,
    publicKey,
    createKey: async (name, type) => {
      await must('POST', `transit/keys/${name}`, { type });
      return publicKey(name);
    },
    stop: running.stop,
  };
}

/** Vault gives Ed25519 public keys as 32 bare bytes in base64. */
function ed25519Pem(base64: string): string {
  const x = Buffer.from(base64, 'base64').toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    .export({ type: 'spki', format: 'pem' })
    .toString();
}
