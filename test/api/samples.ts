import type { DescMethodServerStreaming, DescMethodUnary } from '@bufbuild/protobuf';
import type { JsonObject } from '../../src/codec/strict-json.ts';
import { KeyService } from '../../src/gen/countersign/v1/keys_pb.ts';
import { SigningService } from '../../src/gen/countersign/v1/signing_pb.ts';
import { VerificationService } from '../../src/gen/countersign/v1/verification_pb.ts';
import { digest, publicPem } from './world.ts';

/** A valid request, in which every field that can be set beside the others is set. */
export type Sample = {
  readonly name: string;
  readonly method: DescMethodUnary;
  readonly path: string;
  readonly json: JsonObject;
};

const image: JsonObject = { image: 'registry.example/acme/app:v1' };
const blobDigest: JsonObject = { blobDigest: { name: 'acme/installer.tar.gz', digest } };
const blob: JsonObject = { blob: { name: 'acme/small.txt', content: 'aGVsbG8=' } };
const storage: JsonObject = { mode: 'MODE_ATTACH', repository: 'registry.example/acme/signatures' };
const predicate = Buffer.from('{"a":1}').toString('base64');

const sign = {
  image: {
    subject: image,
    key: 'release',
    formats: ['FORMAT_BUNDLE', 'FORMAT_SIMPLE_SIGNING'],
    annotations: { env: 'prod' },
    storage,
  },
  blobDigest: {
    subject: blobDigest,
    key: 'release',
    formats: ['FORMAT_BUNDLE'],
    storage: { mode: 'MODE_RETURN_ONLY' },
  },
  blob: { subject: blob, key: 'release' },
};
const attest = {
  subject: image,
  key: 'release',
  formats: ['FORMAT_DSSE'],
  predicateType: 'https://slsa.dev/provenance/v1',
  storage,
};

export const samples: readonly Sample[] = [
  { name: 'Sign an image', method: SigningService.method.sign, path: '/v1/sign', json: sign.image },
  { name: 'Sign a digest', method: SigningService.method.sign, path: '/v1/sign', json: sign.blobDigest },
  { name: 'Sign a blob', method: SigningService.method.sign, path: '/v1/sign', json: sign.blob },
  { name: 'Attest', method: SigningService.method.attest, path: '/v1/attest', json: { ...attest, predicate } },
  { name: 'Explain a Sign', method: SigningService.method.explain, path: '/v1/explain', json: { sign: sign.image } },
  { name: 'Explain an Attest', method: SigningService.method.explain, path: '/v1/explain', json: { attest } },
  {
    name: 'Verify',
    method: VerificationService.method.verify,
    path: '/v1/verify',
    json: {
      subject: image,
      keys: [{ key: 'release' }, { pem: publicPem }],
      predicateType: 'slsaprovenance1',
      annotations: { env: 'prod' },
      signatures: ['e30='],
      repository: 'registry.example/acme/signatures',
    },
  },
];

/** A valid batch with an item of each kind. */
export const batchSample: Omit<Sample, 'name' | 'method'> & { readonly method: DescMethodServerStreaming } = {
  method: SigningService.method.signBatch,
  path: '/v1/sign:batch',
  json: {
    items: [
      { reference: 'image', sign: sign.image },
      { reference: 'attestation', attest: { ...attest, predicate } },
    ],
  },
};

/** The sample of GetKey, which has no body. */
export const getKey = { method: KeyService.method.getKey, json: { key: 'release' } };
