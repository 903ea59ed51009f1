import { createHash, randomBytes } from 'node:crypto';

/** DigestInfo of SHA-256, SHA-384 and SHA-512 up to the digest (RFC 8017 section 9.2, note 1), by the digest's length. */
const digestInfoPrefixes: Readonly<Record<number, Buffer>> = {
  32: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  48: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  64: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
};

/** The hash of the family that a digest comes from, by its length. */
const hashFor = (bytes: number, ...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash(`sha${bytes * 8}`);
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** `DigestInfo` over a digest of SHA-256, SHA-384 or SHA-512 (its length tells): what PKCS#1 v1.5 pads. */
export const digestInfo = (digest: Uint8Array): Buffer => {
  const prefix = digestInfoPrefixes[digest.length];
  if (prefix === undefined) throw new RangeError(`${digest.length} bytes are no digest`);
  return Buffer.concat([prefix, digest]);
};

/** EMSA-PKCS1-v1_5 (RFC 8017 section 9.2) of such a digest, for a modulus of so many bits. */
export const encodePkcs1 = (digest: Uint8Array, modulusBits: number): Buffer => {
  const info = digestInfo(digest);
  const padding = Buffer.alloc(modulusBits / 8 - info.length - 3, 0xff);
  return Buffer.concat([Uint8Array.of(0x00, 0x01), padding, Uint8Array.of(0x00), info]);
};

/** MGF1 (RFC 8017 appendix B.2.1) with the hash that the seed comes from, xored onto `bytes`. */
const masked = (bytes: Uint8Array, seed: Uint8Array): Buffer => {
  const blocks = Array.from({ length: Math.ceil(bytes.length / seed.length) }, (_, index) => {
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(index);
    return hashFor(seed.length, seed, counter);
  });
  const mask = Buffer.concat(blocks);
  return Buffer.from(bytes.map((byte, index) => byte ^ (mask[index] ?? 0)));
};

/**
 * EMSA-PSS encoding (RFC 8017 section 9.1.1) of a digest of SHA-256, SHA-384 or SHA-512 with MGF1 of the same hash and a salt
 * of its length, for a modulus whose bit length is a multiple of 8 (so that the encoding has the modulus' length and its top
 * bit is clear).
 */
export const encodePss = (
  digest: Uint8Array,
  modulusBits: number,
  salt: Uint8Array = randomBytes(digest.length),
): Buffer => {
  const hash = hashFor(digest.length, Buffer.alloc(8), digest, salt);
  const padding = Buffer.alloc(modulusBits / 8 - salt.length - hash.length - 2);
  const masking = masked(Buffer.concat([padding, Uint8Array.of(0x01), salt]), hash);
  masking[0] = (masking[0] ?? 0) & 0x7f;
  return Buffer.concat([masking, hash, Uint8Array.of(0xbc)]);
};

/** EMSA-PSS verification (RFC 8017 section 9.1.2), the salt exactly as long as the hash. */
export const checkPss = (encoded: Uint8Array, digest: Uint8Array, modulusBits: number): boolean => {
  const length = modulusBits / 8;
  const hashBytes = digest.length;
  if (encoded.length !== length || encoded[length - 1] !== 0xbc || (encoded[0] ?? 0x80) >= 0x80) return false;
  const hash = encoded.subarray(length - hashBytes - 1, length - 1);
  const block = masked(encoded.subarray(0, length - hashBytes - 1), hash);
  block[0] = (block[0] ?? 0) & 0x7f;
  const saltStart = block.length - hashBytes;
  if (block[saltStart - 1] !== 0x01 || block.subarray(0, saltStart - 1).some((byte) => byte !== 0)) return false;
  return hashFor(hashBytes, Buffer.alloc(8), digest, block.subarray(saltStart)).equals(hash);
};
