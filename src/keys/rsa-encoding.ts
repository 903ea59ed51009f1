import { createHash, randomBytes } from 'node:crypto';

const hashBytes = 32;
/** DigestInfo of SHA-256 up to the digest (RFC 8017 section 9.2, note 1). */
const digestInfoPrefix = Buffer.from('3031300d060960864801650304020105000420', 'hex');

const sha256 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** `DigestInfo` over a SHA-256 digest: what PKCS#1 v1.5 pads. */
const digestInfo = (digest: Uint8Array): Buffer => Buffer.concat([digestInfoPrefix, digest]);

/** EMSA-PKCS1-v1_5 (RFC 8017 section 9.2) of a SHA-256 digest, for a modulus of so many bits. */
export const encodePkcs1 = (digest: Uint8Array, modulusBits: number): Buffer => {
  const info = digestInfo(digest);
  const padding = Buffer.alloc(modulusBits / 8 - info.length - 3, 0xff);
  return Buffer.concat([Uint8Array.of(0x00, 0x01), padding, Uint8Array.of(0x00), info]);
};

/** MGF1 with SHA-256 (RFC 8017 appendix B.2.1), xored onto `bytes`. */
const masked = (bytes: Uint8Array, seed: Uint8Array): Buffer => {
  const blocks = Array.from({ length: Math.ceil(bytes.length / hashBytes) }, (_, index) => {
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(index);
    return sha256(seed, counter);
  });
  const mask = Buffer.concat(blocks);
  return Buffer.from(bytes.map((byte, index) => byte ^ (mask[index] ?? 0)));
};

/**
 * EMSA-PSS encoding (RFC 8017 section 9.1.1) of a SHA-256 digest with MGF1-SHA-256 and a 32-byte salt, for a modulus whose
 * bit length is a multiple of 8 (so that the encoding has the modulus' length and its top bit is clear).
 */
export const encodePss = (
  digest: Uint8Array,
  modulusBits: number,
  salt: Uint8Array = randomBytes(hashBytes),
): Buffer => {
  const hash = sha256(Buffer.alloc(8), digest, salt);
  const padding = Buffer.alloc(modulusBits / 8 - salt.length - hashBytes - 2);
  const masking = masked(Buffer.concat([padding, Uint8Array.of(0x01), salt]), hash);
  masking[0] = (masking[0] ?? 0) & 0x7f;
  return Buffer.concat([masking, hash, Uint8Array.of(0xbc)]);
};

/** EMSA-PSS verification (RFC 8017 section 9.1.2), the salt exactly as long as the hash. */
export const checkPss = (encoded: Uint8Array, digest: Uint8Array, modulusBits: number): boolean => {
  const length = modulusBits / 8;
  if (encoded.length !== length || encoded[length - 1] !== 0xbc || (encoded[0] ?? 0x80) >= 0x80) return false;
  const hash = encoded.subarray(length - hashBytes - 1, length - 1);
  const block = masked(encoded.subarray(0, length - hashBytes - 1), hash);
  block[0] = (block[0] ?? 0) & 0x7f;
  const saltStart = block.length - hashBytes;
  if (block[saltStart - 1] !== 0x01 || block.subarray(0, saltStart - 1).some((byte) => byte !== 0)) return false;
  return sha256(Buffer.alloc(8), digest, block.subarray(saltStart)).equals(hash);
};
