import { createHash, createPublicKey, type KeyObject } from 'node:crypto';

/** The largest SubjectPublicKeyInfo that is looked at: RSA-4096 takes 550 bytes. */
const maxSpkiBytes = 8 * 1024;

const ed25519Prefix = Buffer.from('302a300506032b6570032100', 'hex');

/** SubjectPublicKeyInfo, DER, of a public key (RFC 5280 section 4.1.2.7). */
export const spkiOf = (publicKey: KeyObject): Buffer => publicKey.export({ type: 'spki', format: 'der' });

/** base64(SHA-256(spki)): the `publicKey.hint` of a Sigstore bundle. */
export const spkiHint = (spki: Uint8Array): string => createHash('sha256').update(spki).digest('base64');

/** The SubjectPublicKeyInfo of a raw 32-byte Ed25519 public key (RFC 8410 section 4); undefined for another length. */
export const ed25519Spki = (raw: Uint8Array): Buffer | undefined =>
  raw.length === 32 ? Buffer.concat([ed25519Prefix, raw]) : undefined;

/**
 * The key in a SubjectPublicKeyInfo; undefined when it is not one, or not in the one DER form that the key has
 * (OpenSSL accepts trailing bytes and loose lengths: two spellings of one key would have two hints).
 */
export const readSpki = (spki: Uint8Array): KeyObject | undefined => {
  if (spki.length > maxSpkiBytes) return undefined;
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    return spkiOf(key).equals(spki) ? key : undefined;
  } catch {
    return undefined;
  }
};
