import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { formats } from '../../src/formats/formats.ts';
import type { AlgorithmName } from '../../src/model/algorithm.ts';
import type { Digest } from '../../src/model/digest.ts';
import type { FormatName, KeyVersion, Sealed, Signable } from '../../src/model/signature.ts';
import { publicKeyOf } from '../../src/keys/public-key.ts';

/** One signature that a real cosign made. */
export type Made = {
  readonly by: string;
  readonly key: string;
  readonly subject: 'image' | 'blob';
  /** `signature`, or the predicate type of an attestation. */
  readonly expect: string;
  readonly mediaType?: string;
  readonly content: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Made from the inputs that formats.test.ts gives our own code. */
  readonly golden?: boolean;
};

export const cosignMade: {
  readonly digest: Digest;
  readonly blob: string;
  readonly keys: Readonly<Record<string, string>>;
  readonly made: readonly Made[];
} = JSON.parse(readFileSync(join(import.meta.dirname, 'cosign-made.json'), 'utf8'));

/** A key for tests: its public half as the house sees it, and how it signs. */
export type TestKey = KeyVersion & { readonly privateKey: KeyObject };

const testKey = (name: string, privateKey: KeyObject): TestKey => ({
  key: name,
  version: '1',
  ...publicKeyOf(createPublicKey(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())),
  privateKey,
});

const generate = (algorithm: string): KeyObject => {
  if (algorithm === 'ed25519') return generateKeyPairSync('ed25519').privateKey;
  if (algorithm.startsWith('rsa')) return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  return generateKeyPairSync('ec', { namedCurve: algorithm }).privateKey;
};

export const newKey = (algorithm: 'P-256' | 'P-384' | 'P-521' | 'rsa' | 'ed25519' = 'P-256', name = 'release') =>
  testKey(name, createPrivateKey(generate(algorithm).export({ type: 'pkcs8', format: 'pem' })));

const hash = (algorithm: AlgorithmName): string | null => /sha\d+$/.exec(algorithm)?.[0] ?? null;

export const signBytes = (key: TestKey, message: Uint8Array): Buffer =>
  sign(hash(key.algorithm), message, key.privateKey);

export const now = new Date('2026-11-27T00:00:04.567Z');

/** message -> sign -> seal, as the Sign use case does it. */
export const sealed = (format: FormatName, signable: Signable, key: TestKey): Sealed => {
  const toSign = formats[format].message(signable, now);
  if (toSign.kind !== 'message') throw new TypeError('a test signs whole messages');
  return formats[format].seal(signable, toSign, signBytes(key, toSign.message), key, now);
};
