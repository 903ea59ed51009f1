// Private keys for tests in every form that a file can have. Made here, never kept in the repository.
import { generateKeyPairSync, type KeyObject, randomBytes, scryptSync } from 'node:crypto';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import { writePem } from '../../../src/codec/pem.ts';
import { algorithms } from '../../../src/keys/algorithms.ts';
import type { AlgorithmName } from '../../../src/model/algorithm.ts';

const rsaKeys = new Map<number, KeyObject>();
const rsa = (modulusLength: number): KeyObject => {
  const key = rsaKeys.get(modulusLength) ?? generateKeyPairSync('rsa', { modulusLength }).privateKey;
  rsaKeys.set(modulusLength, key);
  return key;
};

/** A private key for an algorithm; RSA keys are made once, since that takes seconds. */
export const privateKeyFor = (name: AlgorithmName): KeyObject => {
  const algorithm = algorithms[name];
  if (algorithm.type === 'rsa') return rsa(algorithm.modulusBits);
  if (algorithm.type === 'ed25519') return generateKeyPairSync('ed25519').privateKey;
  return generateKeyPairSync('ec', { namedCurve: algorithm.namedCurve }).privateKey;
};

export type CosignKeyOptions = {
  readonly label?: string;
  readonly N?: number;
  /** Replaces fields of the JSON, to make a broken one. */
  readonly change?: (body: Record<string, unknown>) => unknown;
};

/** What `cosign generate-key-pair` and `import-key-pair` write: PKCS#8 in a NaCl secretbox under a scrypt key. */
export const cosignKeyFile = (key: KeyObject, password: string, options: CosignKeyOptions = {}): string => {
  const N = options.N ?? 65_536;
  const [salt, nonce] = [randomBytes(32), randomBytes(24)];
  const boxKey = scryptSync(password, salt, 32, { N, r: 8, p: 1, maxmem: 512 * 1024 * 1024 });
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const body = {
    kdf: { name: 'scrypt', params: { N, r: 8, p: 1 }, salt: salt.toString('base64') },
    cipher: { name: 'nacl/secretbox', nonce: nonce.toString('base64') },
    ciphertext: Buffer.from(xsalsa20poly1305(boxKey, nonce).encrypt(pkcs8)).toString('base64'),
  };
  const changed = options.change === undefined ? body : options.change(body);
  return writePem(options.label ?? 'ENCRYPTED SIGSTORE PRIVATE KEY', Buffer.from(JSON.stringify(changed)));
};

export const pkcs8File = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
export const sec1File = (key: KeyObject): string => key.export({ type: 'sec1', format: 'pem' }).toString();
export const pkcs1File = (key: KeyObject): string => key.export({ type: 'pkcs1', format: 'pem' }).toString();
export const encryptedPkcs8File = (key: KeyObject, passphrase: string): string =>
  key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase }).toString();
/** The same key as `openssl ecparam -genkey` writes it, the curve's name in front. */
export const ecParametersFile = (key: KeyObject): string =>
  `-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${sec1File(key)}`;
