// The crypto of a Google Cloud KMS of ours: what each of its algorithms makes, and signs with.
import { constants, createPublicKey, type KeyObject, privateEncrypt, sign } from 'node:crypto';
import { encodePkcs1, encodePss } from '../../src/keys/rsa-encoding.ts';
import type { AlgorithmName } from '../../src/model/algorithm.ts';
import { privateKeyFor } from '../contract/keys/key-files.ts';
import { signDigest } from './sign-digest.ts';

/** Names of CryptoKeyVersionAlgorithm (resources.proto) that the fake makes keys for; the last are ones that are refused. */
export const kmsAlgorithms = {
  EC_SIGN_P256_SHA256: { key: 'ecdsa-p256-sha256', hash: 'sha256' },
  EC_SIGN_P384_SHA384: { key: 'ecdsa-p384-sha384', hash: 'sha384' },
  EC_SIGN_ED25519: { key: 'ed25519', hash: undefined },
  RSA_SIGN_PKCS1_2048_SHA256: { key: 'rsa-pkcs1v15-2048-sha256', hash: 'sha256' },
  RSA_SIGN_PKCS1_3072_SHA256: { key: 'rsa-pkcs1v15-3072-sha256', hash: 'sha256' },
  RSA_SIGN_PKCS1_4096_SHA256: { key: 'rsa-pkcs1v15-4096-sha256', hash: 'sha256' },
  RSA_SIGN_PSS_2048_SHA256: { key: 'rsa-pss-2048-sha256', hash: 'sha256' },
  RSA_SIGN_PSS_3072_SHA256: { key: 'rsa-pss-3072-sha256', hash: 'sha256' },
  RSA_SIGN_PSS_4096_SHA256: { key: 'rsa-pss-4096-sha256', hash: 'sha256' },
  RSA_SIGN_PKCS1_4096_SHA512: { key: 'rsa-pkcs1v15-4096-sha512', hash: 'sha512' },
  RSA_SIGN_PSS_4096_SHA512: { key: 'rsa-pss-4096-sha512', hash: 'sha512' },
} as const satisfies Record<string, { key: AlgorithmName; hash: string | undefined }>;

export type KmsAlgorithm = keyof typeof kmsAlgorithms;

export const makeKey = (algorithm: KmsAlgorithm): KeyObject => privateKeyFor(kmsAlgorithms[algorithm].key);

export const pemOf = (privateKey: KeyObject): string =>
  createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString();

/** DER for ECDSA (resources.proto leaves that to the algorithms page of the documentation), PSS with a salt of the hash's length. */
export const signatureOf = (algorithm: KmsAlgorithm, privateKey: KeyObject, input: Buffer): Buffer => {
  if (algorithm === 'EC_SIGN_ED25519') return sign(null, input, privateKey);
  if (algorithm.startsWith('EC_')) return signDigest(privateKey, input);
  const bits = privateKey.asymmetricKeyDetails?.modulusLength ?? 0;
  const encoded = algorithm.includes('PSS') ? encodePss(input, bits) : encodePkcs1(input, bits);
  return privateEncrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, encoded);
};
