// Keys of an Azure-shaped vault of ours: how they look on the wire, and what signs with them.
import { constants, createHash, generateKeyPairSync, type KeyObject, privateEncrypt, randomBytes } from 'node:crypto';
import { ecdsaDerToRaw } from '../../src/codec/ecdsa.ts';
import { privateKeyFor } from '../contract/keys/key-files.ts';
import { signDigest } from './sign-digest.ts';

/** The types of key that Azure has ("About keys", supported key types); `RSA` and `EC` are in software. */
export type FakeKind = 'P-256' | 'P-384' | 'P-521' | 'P-256K' | 'RSA-2048' | 'RSA-3072' | 'RSA-4096';

export type FakeVersion = {
  readonly version: string;
  readonly kind: FakeKind;
  readonly privateKey: KeyObject;
  /** `-HSM` in the key type; a test may change it, and what follows. */
  hsm: boolean;
  keyOps: string[];
  /** As Azure names and writes them: seconds since 1970 for `nbf`, `exp`, `created`. */
  readonly attributes: Record<string, unknown>;
};

/** Fast: RSA keys are made once in a process. */
const makePrivateKey = (kind: FakeKind): KeyObject => {
  if (kind === 'P-256K') return generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey;
  if (kind.startsWith('P-')) return generateKeyPairSync('ec', { namedCurve: kind }).privateKey;
  return privateKeyFor(`rsa-pkcs1v15-${kind.slice(4)}-sha256` as 'rsa-pkcs1v15-2048-sha256');
};

export const makeVersion = (kind: FakeKind, created: number): FakeVersion => ({
  version: randomBytes(16).toString('hex'),
  kind,
  privateKey: makePrivateKey(kind),
  hsm: false,
  keyOps: ['sign', 'verify'],
  attributes: {
    enabled: true,
    created,
    updated: created,
    recoveryLevel: 'Recoverable+Purgeable',
    recoverableDays: 90,
    exportable: false,
    hsmPlatform: '0',
  },
});

/** The public JWK. Azure may put a zero byte before `n` (azure-sdk-for-js tests; peers.md section 6), so this does. */
export const jwkOf = ({ kind, privateKey, hsm, keyOps }: FakeVersion, kid: string): Record<string, unknown> => {
  const { n, e, x, y } = privateKey.export({ format: 'jwk' });
  const suffix = hsm ? '-HSM' : '';
  if (kind.startsWith('P-')) return { kid, kty: `EC${suffix}`, key_ops: keyOps, crv: kind, x, y };
  const modulus = Buffer.concat([Buffer.of(0), Buffer.from(n ?? '', 'base64url')]).toString('base64url');
  return { kid, kty: `RSA${suffix}`, key_ops: keyOps, n: modulus, e };
};

/** DigestInfo of SHA-256, 384 and 512 up to the digest (RFC 8017 section 9.2, note 1). */
const digestInfo: Readonly<Record<number, Buffer>> = {
  32: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  48: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  64: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
};

const mgf1 = (seed: Buffer, length: number): Buffer => {
  const blocks: Buffer[] = [];
  for (let index = 0; index * seed.length < length; index++) {
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(index);
    blocks.push(
      createHash(`sha${seed.length * 8}`)
        .update(seed)
        .update(counter)
        .digest(),
    );
  }
  return Buffer.concat(blocks).subarray(0, length);
};

/** EMSA-PSS (RFC 8017 section 9.1.1), a salt as long as the hash: what PS256, PS384 and PS512 mean (RFC 7518 section 3.5). */
const pss = (digest: Buffer, length: number): Buffer => {
  const salt = randomBytes(digest.length);
  const hash = createHash(`sha${digest.length * 8}`)
    .update(Buffer.alloc(8))
    .update(digest)
    .update(salt)
    .digest();
  const block = Buffer.concat([Buffer.alloc(length - 2 * digest.length - 2), Buffer.of(1), salt]);
  const mask = mgf1(hash, block.length);
  for (const [index, byte] of block.entries()) block[index] = byte ^ (mask[index] ?? 0);
  block[0] = (block[0] ?? 0) & 0x7f;
  return Buffer.concat([block, hash, Buffer.of(0xbc)]);
};

const algorithms: Readonly<Record<string, { readonly kind: RegExp; readonly bytes: number }>> = {
  ES256: { kind: /^P-256$/, bytes: 32 },
  ES384: { kind: /^P-384$/, bytes: 48 },
  ES512: { kind: /^P-521$/, bytes: 64 },
  RS256: { kind: /^RSA-/, bytes: 32 },
  PS256: { kind: /^RSA-/, bytes: 32 },
  RS384: { kind: /^RSA-/, bytes: 48 },
  PS384: { kind: /^RSA-/, bytes: 48 },
  RS512: { kind: /^RSA-/, bytes: 64 },
  PS512: { kind: /^RSA-/, bytes: 64 },
};

/** The raw signature, or why it is refused, in the words that issue threads quote of the real service (peers.md section 6). */
export const signWith = ({ kind, privateKey }: FakeVersion, alg: string, value: string): Buffer | string => {
  const algorithm = algorithms[alg];
  if (algorithm?.kind.test(kind) !== true) return 'Key and signing algorithm are incompatible.';
  const digest = Buffer.from(value, 'base64url');
  if (digest.length !== algorithm.bytes) {
    return `Invalid length of 'value': ${digest.length} bytes. ${alg} requires ${algorithm.bytes} bytes.`;
  }
  if (kind.startsWith('P-')) return ecdsaDerToRaw(signDigest(privateKey, digest), kind as 'P-256') ?? 'no signature';
  const { RSA_PKCS1_PADDING, RSA_NO_PADDING } = constants;
  if (alg.startsWith('RS')) {
    const info = Buffer.concat([digestInfo[digest.length] ?? Buffer.of(), digest]);
    return privateEncrypt({ key: privateKey, padding: RSA_PKCS1_PADDING }, info);
  }
  return privateEncrypt({ key: privateKey, padding: RSA_NO_PADDING }, pss(digest, Number(kind.slice(4)) / 8));
};
