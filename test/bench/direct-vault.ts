import { createHash, createPublicKey, verify } from 'node:crypto';
import nodeVault from 'node-vault';
import { Pool } from 'undici';
import { startVault } from '../peers/vault.ts';

/** A backend called without anything of ours between, and the settings of the same key for the keyring. */
export type DirectKey = {
  /** `name` excepted. */
  readonly settings: object;
  /** What is measured, in words. */
  readonly what: string;
  /** Signs, and verifies as every prudent caller does. */
  sign(message: Buffer): Promise<void>;
  close(): Promise<void>;
};

/**
 * Vault's transit engine, by its client library as a program uses it (`node-vault` over kept connections) or by bare HTTP
 * requests, which is less than any client does.
 */
export const directVault = async (by: 'node-vault' | 'http'): Promise<DirectKey> => {
  const vault = await startVault();
  await vault.createKey('direct', 'ecdsa-p256');
  const pool = new Pool(vault.addr, { connections: 64, pipelining: 1 });
  const headers = { 'x-vault-token': vault.token, 'content-type': 'application/json' };
  const answer = async (method: 'GET' | 'POST', path: string, body?: string): Promise<Record<string, unknown>> => {
    const response = await pool.request({ method, path, headers, ...(body === undefined ? {} : { body }) });
    if (response.statusCode !== 200) throw new Error(`Vault answered ${response.statusCode}`);
    return ((await response.body.json()) as { data: Record<string, unknown> }).data;
  };
  const library = nodeVault({ endpoint: vault.addr, token: vault.token });
  const byLibrary = async (body: object): Promise<unknown> =>
    ((await library.write('transit/sign/direct/sha2-256', body)) as { data: { signature: unknown } }).data.signature;
  const byHttp = async (body: object): Promise<unknown> =>
    (await answer('POST', '/v1/transit/sign/direct/sha2-256', JSON.stringify(body)))['signature'];
  const signBy = by === 'http' ? byHttp : byLibrary;
  const { keys } = await answer('GET', '/v1/transit/keys/direct');
  const publicKey = createPublicKey((keys as Record<string, { public_key: string }>)['1']?.public_key ?? '');
  return {
    settings: {
      kind: 'vault',
      address: vault.addr,
      key: 'direct',
      login: { method: 'token', token: vault.token },
    },
    what: by === 'http' ? 'bare HTTP requests, verified' : 'node-vault, verified',
    sign: async (message) => {
      const input = createHash('sha256').update(message).digest('base64');
      const signature = await signBy({ input, prehashed: true, marshaling_algorithm: 'asn1', key_version: 1 });
      const bytes = Buffer.from(String(signature).slice('vault:v1:'.length), 'base64');
      if (!verify('sha256', message, publicKey, bytes)) throw new Error('bad signature');
    },
    close: async () => {
      await pool.close();
      await vault.stop();
    },
  };
};
