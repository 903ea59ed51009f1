import assert from 'node:assert/strict';
import type { Sealed } from '../../src/model/signature.ts';
import type { Output } from '../service-world.ts';
import type { TestImage } from './image.ts';
import { run } from './peer.ts';
import type { Registry } from './registries.ts';

/** Puts the very image `good` into the repository of `other`, so that a signature of it can lie there. */
export const sameImage = async (other: TestImage, good: TestImage, registry: Registry): Promise<TestImage> => {
  const copied = await run('crane', ['copy', good.ref, `${other.repository}:good`, '--insecure'], {
    env: registry.env,
  });
  assert.equal(copied.code, 0, copied.stderr);
  return { ...other, digest: good.digest, ref: `${other.repository}@${good.digest}` };
};

/** What the service sealed, with other content or another signature. */
export const sealedOf = (output: Output, content: Buffer, signature: Buffer, predicateType: string): Sealed => {
  const base = { mediaType: output.mediaType, content, signature };
  switch (output.format) {
    case 'FORMAT_SIMPLE_SIGNING':
      return {
        ...base,
        format: 'simple-signing',
        attachment: {
          by: 'tag',
          suffix: 'sig',
          annotations: { 'dev.cosignproject.cosign/signature': signature.toString('base64') },
        },
      };
    case 'FORMAT_DSSE':
      return {
        ...base,
        format: 'dsse',
        attachment: {
          by: 'tag',
          suffix: 'att',
          annotations: { 'dev.cosignproject.cosign/signature': '', predicateType },
        },
      };
    default:
      return {
        ...base,
        format: 'bundle',
        attachment: {
          by: 'referrer',
          artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
          annotations: { 'dev.sigstore.bundle.content': 'dsse-envelope' },
        },
      };
  }
};
