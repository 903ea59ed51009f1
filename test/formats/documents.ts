import assert from 'node:assert/strict';
import { formats } from '../../src/formats/formats.ts';
import { buildStatement, parseStatement } from '../../src/formats/statement.ts';
import type { Digest } from '../../src/model/digest.ts';
import { CountersignError } from '../../src/model/error.ts';

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export const hex = 'ab'.repeat(32);
export const digest: Digest = `sha256:${hex}`;
export const b64 = (text: string): string => Buffer.from(text).toString('base64');
export const statement = buildStatement({
  subjects: [{ name: 'r/x', digest, annotations: { a: '1' } }],
  predicateType: 'https://p/v1',
  predicate: {},
  version: 'v1',
});

export const bundle = {
  mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
  verificationMaterial: {
    publicKey: { hint: 'h' },
    tlogEntries: [
      {
        logIndex: '7',
        logId: { keyId: b64('log') },
        kindVersion: { kind: 'hashedrekord', version: '0.0.1' },
        integratedTime: '1',
        inclusionPromise: { signedEntryTimestamp: b64('set') },
        inclusionProof: {
          logIndex: '3',
          rootHash: b64('root'),
          treeSize: '9',
          hashes: [b64('hash')],
          checkpoint: { envelope: 'c' },
        },
        canonicalizedBody: b64('body'),
      },
    ],
    timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: b64('tsr') }] },
  },
  dsseEnvelope: {
    payload: Buffer.from(statement).toString('base64'),
    payloadType: 'application/vnd.in-toto+json',
    signatures: [{ sig: b64('sig'), keyid: '' }],
  },
};
export const blobBundle = {
  mediaType: bundle.mediaType,
  verificationMaterial: { publicKey: { hint: 'h' } },
  messageSignature: {
    messageDigest: { algorithm: 'SHA2_256', digest: Buffer.from(hex, 'hex').toString('base64') },
    signature: b64('sig'),
  },
};
export const payload = {
  critical: {
    identity: { 'docker-reference': 'r/x' },
    image: { 'docker-manifest-digest': digest },
    type: 'cosign container image signature',
  },
  optional: { a: '1' },
};
export const signature = { 'dev.cosignproject.cosign/signature': b64('sig') };

export const open = {
  bundle: (json: unknown) => formats.bundle.open(Buffer.from(JSON.stringify(json)), {}),
  dsse: (json: unknown) => formats.dsse.open(Buffer.from(JSON.stringify(json)), {}),
  payload: (json: unknown) => formats['simple-signing'].open(Buffer.from(JSON.stringify(json)), signature),
  statement: (json: unknown) => parseStatement(Buffer.from(JSON.stringify(json))),
};
export const refused = (act: () => unknown, pattern: RegExp = /^(MALFORMED_|WRONG_PAYLOAD_TYPE)/): void => {
  assert.throws(act, (error) => {
    assert.ok(error instanceof CountersignError, `${error}`);
    assert.equal(error.code, 'invalid_argument');
    assert.match(error.reason, pattern, error.message);
    return true;
  });
};
/** Opens, or is refused properly; anything else fails the test. */
export const opens = (act: () => unknown): boolean => {
  try {
    act();
    return true;
  } catch (error) {
    assert.ok(error instanceof CountersignError && error.code === 'invalid_argument', `${error}`);
    return false;
  }
};

/** A copy of `value` with what lies at `path` replaced; undefined removes it. */
export const replaced = (value: Json, path: readonly (string | number)[], by: Json | undefined): Json => {
  const copy = structuredClone(value);
  let at: Json = copy;
  for (const part of path.slice(0, -1)) at = (at as Record<string | number, Json>)[part] ?? null;
  const last = path.at(-1) ?? '';
  if (by === undefined) delete (at as Record<string | number, Json>)[last];
  else (at as Record<string | number, Json>)[last] = by;
  return copy;
};
export const paths = (value: Json, at: readonly (string | number)[] = []): (string | number)[][] => {
  if (typeof value !== 'object' || value === null) return [];
  const names = Array.isArray(value) ? value.map((_, index) => index) : Object.keys(value);
  return names.flatMap((name) => [
    [...at, name],
    ...paths((value as Record<string | number, Json>)[name] ?? null, [...at, name]),
  ]);
};
