import { createHash } from 'node:crypto';
import { z } from 'zod';
import { crc32c } from '../../codec/crc32c.ts';
import { CountersignError } from '../../model/error.ts';
import type { KeyVersion, ToSign } from '../../model/signature.ts';
import { algorithms, assertSignable } from '../algorithms.ts';
import type { GcpSignRequest } from './client.ts';
import { gcpCorrupted, gcpGarbage } from './errors.ts';

/** The largest message that Cloud KMS takes as `data`, in bytes; Ed25519 has to be signed so. */
const maxDataBytes = 64 * 1024;

const signAnswer = z.object({
  name: z.string().max(1024),
  signature: z.instanceof(Uint8Array).refine(({ length }) => length > 0 && length <= 1024),
  signatureCrc32c: z.object({ value: z.coerce.number() }).nullish(),
  verifiedDigestCrc32c: z.boolean(),
  verifiedDataCrc32c: z.boolean(),
  protectionLevel: z.union([z.string(), z.int()]).transform(String),
});

/**
 * The AsymmetricSign request for exactly this version, with the CRC-32C of what is signed. ECDSA and RSA get a digest, made
 * here, so that messages may have any size; Ed25519 signs the message itself. Throws `DIGEST_NOT_SUPPORTED` as
 * `assertSignable`, and `failed_precondition`, reason `MESSAGE_TOO_LARGE`, for an Ed25519 message of more than 64 KiB.
 */
export const signRequest = (version: KeyVersion, toSign: ToSign): GcpSignRequest => {
  assertSignable(version.algorithm, toSign.kind);
  const { hash } = algorithms[version.algorithm];
  if (toSign.kind === 'digest') {
    return { name: version.version, digest: { sha256: toSign.digest }, crc: crc32c(toSign.digest) };
  }
  if (hash !== undefined) {
    const digest = createHash(hash).update(toSign.message).digest();
    return { name: version.version, digest: { [hash]: digest }, crc: crc32c(digest) };
  }
  if (toSign.message.length <= maxDataBytes) {
    return { name: version.version, data: toSign.message, crc: crc32c(toSign.message) };
  }
  throw new CountersignError(
    'failed_precondition',
    'MESSAGE_TOO_LARGE',
    `Google Cloud KMS signs Ed25519 messages of at most ${maxDataBytes} bytes, and this one has ${toSign.message.length}: ` +
      'use an ECDSA or RSA key, which sign digests.',
  );
};

/**
 * AsymmetricSign's answer -> the signature. `protectionLevel` is what Cloud KMS said of the version when it was opened. Throws
 * `data_loss`: `KEY_VERSION_MISMATCH` when another version signed, `KEY_PROTECTION_MISMATCH` when it is guarded otherwise
 * than it was, `KEY_CHECKSUM_MISMATCH` when request or answer changed on the way, `KEY_ANSWER_MALFORMED`.
 */
export const readSignature = (
  answer: unknown,
  request: GcpSignRequest,
  protectionLevel: string,
  kms: string,
): Uint8Array => {
  const { data } = signAnswer.safeParse(answer);
  if (data === undefined) throw gcpGarbage(kms, 'no signature');
  if (data.name !== request.name) {
    throw new CountersignError(
      'data_loss',
      'KEY_VERSION_MISMATCH',
      `${kms} signed with another version than ${request.name}; the signature was dropped.`,
    );
  }
  if (data.protectionLevel !== protectionLevel) {
    throw new CountersignError(
      'data_loss',
      'KEY_PROTECTION_MISMATCH',
      `${kms} says that ${request.name} is guarded at level ${data.protectionLevel.slice(0, 64)}, and said ` +
        `${protectionLevel} when it was opened; the signature was dropped.`,
    );
  }
  const verified = 'data' in request ? data.verifiedDataCrc32c : data.verifiedDigestCrc32c;
  if (!verified) throw gcpCorrupted(kms, 'The request to sign');
  if (crc32c(data.signature) !== data.signatureCrc32c?.value) throw gcpCorrupted(kms, 'The signature');
  return data.signature;
};
