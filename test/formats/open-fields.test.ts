import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formats } from '../../src/formats/formats.ts';
import {
  type Json,
  blobBundle,
  bundle,
  open,
  opens,
  paths,
  payload,
  refused,
  replaced,
  signature,
  statement,
} from './documents.ts';

const wrong: readonly Json[] = [null, 7, -1, 1.5, true, '', ' ', 'x\u0000', [], {}, [null], { x: 1 }, [[]]];

/** Fields that may be absent or null (protojson: that is their default), or hold what another field would not take. */
const optional: Readonly<Record<string, readonly string[]>> = {
  bundle: [
    'publicKey.hint',
    'tlogEntries',
    'logIndex',
    'integratedTime',
    'inclusionPromise',
    'treeSize',
    'hashes',
    'timestampVerificationData',
    'rfc3161Timestamps',
    'keyid',
    'envelope',
    'kind',
    'version',
    'publicKey',
    'tlogEntries.0',
  ],
  blobBundle: ['publicKey.hint', 'publicKey', 'messageDigest', 'algorithm'],
  dsse: ['keyid'],
  payload: ['optional', 'docker-reference', 'optional.a'],
  statement: ['name', 'annotations', 'annotations.a', 'predicate', 'predicateType'],
};

describe('every field absent, null, of the wrong type, empty', () => {
  const documents: readonly (readonly [string, Json, (json: Json) => unknown])[] = [
    ['bundle', bundle, open.bundle],
    ['blobBundle', blobBundle, open.bundle],
    ['dsse', bundle.dsseEnvelope, open.dsse],
    ['payload', payload, open.payload],
    ['statement', JSON.parse(Buffer.from(statement).toString()), open.statement],
  ];
  for (const [name, document, read] of documents) {
    test(name, () => {
      read(document);
      for (const path of paths(document)) {
        const text = path.join('.');
        const mayOpen = (optional[name] ?? []).some((field) => text === field || text.endsWith(`.${field}`));
        for (const value of [undefined, ...wrong]) {
          const opened = opens(() => read(replaced(document, path, value)));
          if (!mayOpen) assert.equal(opened, false, `${name}: ${text} = ${JSON.stringify(value)}`);
        }
      }
    });
  }
  test('and the whole document', () => {
    for (const value of [...wrong, JSON.parse('[{}]')]) {
      for (const read of Object.values(open)) refused(() => read(value));
    }
    for (const bytes of ['', ' ', '{', '{}x', '\ufeff{}', '{"a":1,"a":2}', '\u0000']) {
      refused(() => formats.bundle.open(Buffer.from(bytes), {}));
      refused(() => formats.dsse.open(Buffer.from(bytes), {}));
      refused(() => formats['simple-signing'].open(Buffer.from(bytes), signature));
    }
    refused(() => formats.bundle.open(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), {}));
  });
});
