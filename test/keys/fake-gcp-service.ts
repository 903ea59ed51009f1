// What the Google Cloud KMS of ours answers. Sources of the claims as fake-gcp.ts names them.
import type { KeyObject } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { crc32c } from '../../src/codec/crc32c.ts';
import { type KmsAlgorithm, kmsAlgorithms, pemOf, signatureOf } from './fake-gcp-crypto.ts';

export type Refusal = { readonly code: number; readonly details?: string };
export type FakeVersion = {
  readonly privateKey: KeyObject;
  readonly algorithm: KmsAlgorithm;
  /** What is told of the version; a test may change it. */
  readonly fields: Record<string, unknown>;
};
export type KmsKey = { readonly name: string; readonly versions: readonly FakeVersion[] };

type Request = Readonly<Record<string, unknown>>;
type Answer = Record<string, unknown>;

const maxDataBytes = 64 * 1024;
const digestBytes: Readonly<Record<string, number>> = { sha256: 32, sha384: 48, sha512: 64 };

const refuse = (code: number, details: string): Refusal => ({ code, details });
const notFound = (name: unknown): Refusal => refuse(status.NOT_FOUND, `${name} not found.`);
const checksum = (bytes: Uint8Array) => ({ value: `${crc32c(bytes)}` });
const differs = (given: unknown, bytes: Uint8Array): boolean =>
  given !== null && given !== undefined && (given as { value: string }).value !== `${crc32c(bytes)}`;

export const kmsAnswers = (keys: ReadonlyMap<string, KmsKey>) => {
  const versionNamed = (name: unknown): FakeVersion | undefined =>
    [...keys.values()].flatMap(({ versions }) => versions).find(({ fields }) => fields['name'] === name);

  /** Neither GetPublicKey nor AsymmetricSign takes a version that is not enabled: FAILED_PRECONDITION (fakekms); its words are ours. */
  const enabled = (name: unknown): FakeVersion | Refusal => {
    const version = versionNamed(name);
    if (version === undefined) return notFound(name);
    const { state } = version.fields;
    if (state === 'ENABLED') return version;
    return refuse(status.FAILED_PRECONDITION, `${name} is not enabled, current state is: ${state}.`);
  };

  const asymmetricSign = (request: Request): Answer | Refusal => {
    const version = enabled(request['name']);
    if ('code' in version) return version;
    const data = request['data'] as Buffer;
    const digest = request['digest'] as (Record<string, Buffer> & { digest?: string }) | null;
    const { hash } = kmsAlgorithms[version.algorithm];
    // One of both (proto); an empty `data` cannot be told from none on the wire (proto3).
    if (digest !== null && data.length > 0)
      return refuse(status.INVALID_ARGUMENT, 'only one of digest or data must be set');
    if (digest === null && data.length === 0)
      return refuse(status.INVALID_ARGUMENT, 'at least one of digest or data must be set');
    // Ed25519 is made of the data itself (proto: "in pure mode (taking data as input)").
    if (hash === undefined && digest !== null) return refuse(status.INVALID_ARGUMENT, 'data is empty');
    // ours: here data is for Ed25519 alone; the service hashes data for the others.
    if (hash !== undefined && digest === null) return refuse(status.INVALID_ARGUMENT, 'digest is empty');
    if (data.length > maxDataBytes) return refuse(status.INVALID_ARGUMENT, 'data is too long');
    const input = hash === undefined ? data : (digest?.[hash] ?? Buffer.alloc(0));
    // The digest must be made with the algorithm of the version (proto): its field and its length are looked at (fakekms).
    if (hash !== undefined && input.length !== digestBytes[hash]) {
      return refuse(status.INVALID_ARGUMENT, `len(digest)=${input.length}, want ${digestBytes[hash]}`);
    }
    // A checksum that does not fit is an error (proto), INVALID_ARGUMENT (fakekms).
    const given = request[hash === undefined ? 'dataCrc32c' : 'digestCrc32c'];
    if (differs(given, input)) return refuse(status.INVALID_ARGUMENT, 'invalid digest checksum');
    const signature = signatureOf(version.algorithm, version.privateKey, input);
    return {
      name: request['name'],
      signature,
      // Of the signature; and was there a checksum of the request, and did it fit (proto).
      signatureCrc32c: checksum(signature),
      verifiedDigestCrc32c: hash !== undefined && given !== null,
      verifiedDataCrc32c: hash === undefined && given !== null,
      protectionLevel: version.fields['protectionLevel'],
    };
  };

  return {
    GetCryptoKey: ({ name }: Request): Answer | Refusal =>
      keys.has(name as string) ? { name, purpose: 'ASYMMETRIC_SIGN' } : notFound(name),

    /** Ordered by name as text, so 10 stands before 9 (fakekms); without attestations unless the view is FULL (proto). */
    ListCryptoKeyVersions: ({ parent, pageSize, pageToken, view }: Request): Answer | Refusal => {
      const key = keys.get(parent as string);
      if (key === undefined) return notFound(parent);
      const all = key.versions.map(({ fields }) => (view === 'FULL' ? fields : { ...fields, attestation: null }));
      all.sort((one, other) => (String(one['name']) < String(other['name']) ? -1 : 1));
      const from = Number(pageToken);
      const to = from + ((pageSize as number) || 100);
      const nextPageToken = to < all.length ? `${to}` : '';
      return { cryptoKeyVersions: all.slice(from, to), nextPageToken, totalSize: all.length };
    },

    GetCryptoKeyVersion: ({ name }: Request): Answer | Refusal => versionNamed(name)?.fields ?? notFound(name),

    GetPublicKey: ({ name }: Request): Answer | Refusal => {
      const version = enabled(name);
      if ('code' in version) return version;
      const pem = pemOf(version.privateKey);
      const { algorithm, protectionLevel } = version.fields;
      // PEM where no format is asked for, with its checksum and the name "for verification" (proto).
      return { pem, algorithm, pemCrc32c: checksum(Buffer.from(pem)), name, protectionLevel };
    },

    AsymmetricSign: asymmetricSign,
  };
};
