import { scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import { z } from 'zod';
import { decodeBase64 } from '../../codec/base64.ts';

const derive = promisify<string, Uint8Array, number, object, Buffer>(scrypt);

/** The labels that cosign gives, and gave, to its encrypted key files. */
export const cosignLabels = ['ENCRYPTED SIGSTORE PRIVATE KEY', 'ENCRYPTED COSIGN PRIVATE KEY'] as const;

/** The parameters that cosign accepts; a larger N would only let a file eat memory. */
const envelope = z.strictObject({
  kdf: z.strictObject({
    name: z.literal('scrypt'),
    params: z.strictObject({
      N: z.union([z.literal(32768), z.literal(65536), z.literal(131072)]),
      r: z.literal(8),
      p: z.literal(1),
    }),
    salt: z.string().max(88),
  }),
  cipher: z.strictObject({ name: z.literal('nacl/secretbox'), nonce: z.string().max(32) }),
  ciphertext: z.string().max(32 * 1024),
});

/**
 * Opens the JSON inside a cosign key file (go-securesystemslib/encrypted: scrypt, then NaCl secretbox) -> the PKCS#8
 * private key, DER. Answers `malformed` when it is not that, `wrong-password` when the box does not open. The
 * derivation takes 32 to 128 MiB and about 0.2 s on a thread of the pool.
 */
export const openCosignKey = async (
  body: Buffer,
  password: string,
): Promise<Buffer | 'malformed' | 'wrong-password'> => {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return 'malformed';
  }
  const parsed = envelope.safeParse(json);
  if (!parsed.success) return 'malformed';
  const { kdf, cipher, ciphertext } = parsed.data;
  const salt = decodeBase64(kdf.salt);
  const nonce = decodeBase64(cipher.nonce);
  const box = decodeBase64(ciphertext);
  if (salt?.length !== 32 || nonce?.length !== 24 || box === undefined || box.length < 17) return 'malformed';
  const key = await derive(password, salt, 32, { N: kdf.params.N, r: 8, p: 1, maxmem: 256 * 1024 * 1024 });
  try {
    return Buffer.from(xsalsa20poly1305(key, nonce).decrypt(box));
  } catch {
    return 'wrong-password';
  } finally {
    key.fill(0);
  }
};
