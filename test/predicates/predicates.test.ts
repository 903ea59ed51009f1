import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { CountersignError } from '../../src/model/error.ts';
import { checkPredicate, predicateType, predicateTypes } from '../../src/predicates/predicates.ts';
import { skipWithoutVectors, vectorsPath } from '../vectors.ts';

const now = new Date('2026-11-27T00:00:04.567Z');
const check = (type: string, predicate: unknown) => checkPredicate(type, Buffer.from(JSON.stringify(predicate)), now);
/** The paths of the fields that are refused. */
const fields = (type: string, predicate: unknown): readonly string[] => {
  try {
    check(type, predicate);
  } catch (error) {
    assert.ok(error instanceof CountersignError && error.code === 'invalid_argument', `${error}`);
    assert.ok(error.violations.every(({ description }) => description !== ''));
    return error.violations.map(({ field }) => field);
  }
  return [];
};
const document = (...parts: readonly string[]): unknown =>
  JSON.parse(readFileSync(vectorsPath('04-documents', ...parts), 'utf8'));

const slsa1 = {
  buildDefinition: {
    buildType: 'https://example.com/build/v1',
    externalParameters: { ref: 'main' },
    internalParameters: { x: 1 },
    resolvedDependencies: [{ uri: 'git+https://example.com/r', digest: { gitCommit: 'ab' } }],
  },
  runDetails: {
    builder: { id: 'https://example.com/builder', version: { a: '1' } },
    metadata: { invocationId: '1', startedOn: '2026-11-27T00:00:04Z', finishedOn: '2026-11-27T01:00:04.5+01:00' },
    byproducts: [{ content: 'AA==' }],
  },
};

describe('names', () => {
  test("cosign's short names and their URIs", () => {
    const expected = {
      slsaprovenance: 'https://slsa.dev/provenance/v0.2',
      slsaprovenance02: 'https://slsa.dev/provenance/v0.2',
      slsaprovenance1: 'https://slsa.dev/provenance/v1',
      link: 'https://in-toto.io/Link/v1',
      spdx: 'https://spdx.dev/Document',
      spdxjson: 'https://spdx.dev/Document',
      cyclonedx: 'https://cyclonedx.org/bom',
      vuln: 'https://cosign.sigstore.dev/attestation/vuln/v1',
      openvex: 'https://openvex.dev/ns',
      custom: 'https://cosign.sigstore.dev/attestation/v1',
    };
    for (const [name, uri] of Object.entries(expected)) {
      assert.equal(predicateType(name).uri, uri);
      assert.equal(predicateType(uri), predicateType(name));
    }
    assert.deepEqual(predicateTypes.flatMap((type) => type.aliases).sort(), Object.keys(expected).sort());
  });

  test('any absolute URI is itself; anything else is refused with the names that are known', () => {
    for (const uri of ['https://example.com/p/v1', 'urn:example:p', 'tag:example.com,2026:p']) {
      assert.equal(predicateType(uri).uri, uri);
      assert.deepEqual(check(uri, { any: 'thing' }), { uri, predicate: { any: 'thing' } });
      for (const predicate of [[], 'text', 7, null, true]) assert.deepEqual(fields(uri, predicate), ['predicate']);
    }
    for (const name of [
      '',
      'SPDX',
      'spdx ',
      '/relative',
      '//host/x',
      'https:',
      'https://a b',
      'https://\u00fc',
      `https://${'x'.repeat(255)}`,
      'constructor',
    ]) {
      assert.throws(() => predicateType(name), {
        code: 'invalid_argument',
        message: /predicate_type: .*slsaprovenance1/,
      });
    }
  });

  test('the type that makes a statement an image signature cannot be attested', () => {
    for (const uri of ['https://sigstore.dev/cosign/sign/v1', 'https://sigstore.dev/cosign/sign/v2']) {
      assert.throws(() => predicateType(uri), { code: 'invalid_argument', message: /reserved/ });
    }
  });
});

describe('limits', () => {
  test('4 MiB, 64 deep, no duplicate names, no number that JSON programs would change', () => {
    const type = 'https://example.com/p/v1';
    const bytes = (text: string) => () => checkPredicate(type, Buffer.from(text), now);
    const padded = (length: number) => `{"a":"${'x'.repeat(length - 8)}"}`;
    assert.ok(bytes(padded(4 * 1024 * 1024))());
    const deep = (depth: number) => `${'{"a":'.repeat(depth - 1)}{}${'}'.repeat(depth - 1)}`;
    assert.ok(bytes(deep(64))());
    for (const text of [
      padded(4 * 1024 * 1024 + 1),
      deep(65),
      '{"a":1,"a":2}',
      '{"a":9007199254740993}',
      '',
      '{',
      '\ufeff{}',
      '{"__proto__":1}',
    ]) {
      assert.throws(bytes(text), (error: CountersignError) => {
        assert.equal(error.code, 'invalid_argument');
        assert.deepEqual(
          error.violations.map(({ field }) => field),
          ['predicate'],
        );
        return true;
      });
    }
  });
});

describe('SLSA provenance', () => {
  test('v1: what is good goes in as it came, unknown members included', () => {
    const more = { ...slsa1, extra: { a: 1 } };
    assert.deepEqual(check('slsaprovenance1', more).predicate, more);
  });

  test('v1: every problem at once, with its path', () => {
    assert.deepEqual(fields('slsaprovenance1', {}), ['predicate.buildDefinition', 'predicate.runDetails']);
    const bad = {
      buildDefinition: {
        buildType: 'no uri',
        externalParameters: [],
        resolvedDependencies: [{ name: 'x' }, { uri: 7 }],
      },
      runDetails: { builder: { id: '' }, metadata: { startedOn: 'yesterday' }, byproducts: {} },
    };
    assert.deepEqual(fields('slsaprovenance1', bad), [
      'predicate.buildDefinition.buildType',
      'predicate.buildDefinition.externalParameters',
      'predicate.buildDefinition.resolvedDependencies[0]',
      'predicate.buildDefinition.resolvedDependencies[1].uri',
      'predicate.runDetails.builder.id',
      'predicate.runDetails.metadata.startedOn',
      'predicate.runDetails.byproducts',
    ]);
  });

  test('each required member of v1 and v0.2', () => {
    const slsa02 = {
      builder: { id: 'https://b' },
      buildType: 'https://t',
      materials: [{ uri: 'git+x', digest: { sha1: 'ab' } }],
    };
    assert.deepEqual(fields('slsaprovenance', slsa02), []);
    assert.deepEqual(fields('slsaprovenance', {}), ['predicate.builder', 'predicate.buildType']);
    assert.deepEqual(fields('slsaprovenance02', { ...slsa02, materials: [{ digest: { sha1: 7 } }] }), [
      'predicate.materials[0].digest',
    ]);
    assert.deepEqual(fields('slsaprovenance1', slsa02), ['predicate.buildDefinition', 'predicate.runDetails']);
  });

  test('provenance that npm and GitHub published is accepted', { skip: skipWithoutVectors }, () => {
    const published = [
      ['02-bundles', 'sigstore-go', 'examples', 'bundle-provenance.json'],
      ['02-bundles', 'sigstore-go', 'bundles', 'sigstore.js@2.0.0-provenance.sigstore.json'],
      ['02-bundles', 'sigstore-go', 'bundles', 'dsse.sigstore.json'],
    ];
    for (const parts of published) {
      const { dsseEnvelope } = JSON.parse(readFileSync(vectorsPath(...parts), 'utf8'));
      const statement = JSON.parse(Buffer.from(dsseEnvelope.payload, 'base64').toString());
      assert.match(statement.predicateType, /^https:\/\/slsa\.dev\/provenance\//);
      assert.deepEqual(fields(statement.predicateType, statement.predicate), [], parts.at(-1));
    }
  });
});

describe('bills of materials', () => {
  test('CycloneDX: every valid document of 1.5 and 1.6', { skip: skipWithoutVectors }, () => {
    let valid = 0;
    for (const version of ['1.5', '1.6']) {
      for (const file of readdirSync(vectorsPath('04-documents', 'cyclonedx', 'cases', version))) {
        if (!file.startsWith('valid-')) continue;
        assert.deepEqual(fields('cyclonedx', document('cyclonedx', 'cases', version, file)), [], file);
        valid++;
      }
    }
    assert.ok(valid > 70);
  });

  test('CycloneDX: what is wrong in its frame', { skip: skipWithoutVectors }, () => {
    for (const version of ['1.5', '1.6']) {
      const refused = (name: string) =>
        fields('cyclonedx', document('cyclonedx', 'cases', version, `invalid-${name}-${version}.json`));
      assert.deepEqual(refused('bomformat'), ['predicate.bomFormat']);
      assert.deepEqual(refused('serialnumber'), ['predicate.serialNumber']);
      assert.deepEqual(refused('missing-component-type'), ['predicate.components[0].type']);
      assert.deepEqual(refused('empty-component'), ['predicate.components[0].name']);
    }
  });

  test('SPDX 2.2, 2.3 and 3.0', { skip: skipWithoutVectors }, () => {
    const samples = ['spdx', 'tools-golang', 'examples', 'sample-docs', 'json'] as const;
    for (const version of ['2.2', '2.3']) {
      assert.deepEqual(fields('spdxjson', document(...samples, `SPDXJSONExample-v${version}.spdx.json`)), []);
    }
    assert.deepEqual(
      fields('spdx', { '@context': 'https://spdx.org/rdf/3.0.1/spdx-context.jsonld', '@graph': [{}] }),
      [],
    );
    assert.deepEqual(fields('spdx', {}), [
      'predicate.spdxVersion',
      'predicate.SPDXID',
      'predicate.name',
      'predicate.dataLicense',
      'predicate.creationInfo',
    ]);
    assert.deepEqual(fields('spdx', { '@graph': [] }), ['predicate.@context', 'predicate.@graph']);
    assert.deepEqual(fields('spdx', 'SPDXVersion: SPDX-2.3'), ['predicate']);
  });

  test("cosign's own test documents", { skip: skipWithoutVectors }, () => {
    const own = (...parts: readonly string[]) =>
      JSON.parse(readFileSync(vectorsPath('02-bundles', 'cosign', 'test', ...parts), 'utf8'));
    assert.deepEqual(fields('spdxjson', own('bom-go-mod.spdx.json')), []);
    assert.deepEqual(fields('cyclonedx', own('bom-go-mod.cyclonedx.json')), []);
    assert.deepEqual(fields('vuln', own('attestations', 'vuln-predicate.json')), []);
  });
});

describe('the others', () => {
  test('vuln', () => {
    assert.deepEqual(fields('vuln', {}), ['predicate.scanner', 'predicate.metadata']);
    const metadata = { scanStartedOn: '2026-11-27T00:00:04Z', scanFinishedOn: 'later' };
    assert.deepEqual(fields('vuln', { scanner: { result: 7 }, metadata }), [
      'predicate.scanner.uri',
      'predicate.scanner.result',
      'predicate.metadata.scanFinishedOn',
    ]);
  });

  test('OpenVEX documents of the specification and of go-vex', { skip: skipWithoutVectors }, () => {
    for (const parts of [
      ['node.openvex.json'],
      ['examples', 'OPENVEX-SPEC-0.json'],
      ['go-vex', 'pkg', 'vex', 'testdata', 'v020-1.vex.json'],
      ['go-vex', 'pkg', 'vex', 'testdata', 'v020-2.vex.json'],
      ['go-vex', 'pkg', 'vex', 'testdata', 'v001-1.vex.json'],
      ['go-vex', 'pkg', 'vex', 'testdata', 'v001-2.vex.json'],
    ]) {
      assert.deepEqual(fields('openvex', document('openvex', ...parts)), [], parts.at(-1));
    }
    assert.deepEqual(fields('openvex', document('openvex', 'go-vex', 'pkg', 'vex', 'testdata', 'csaf.json')), [
      'predicate.@context',
      'predicate.@id',
      'predicate.author',
      'predicate.statements',
    ]);
  });

  test('OpenVEX: not_affected says why', () => {
    const vex = (statement: object) => ({
      '@context': 'https://openvex.dev/ns/v0.2.0',
      '@id': 'x',
      author: 'a',
      version: 1,
      statements: [statement],
    });
    const base = { vulnerability: { name: 'CVE-2026-1' }, status: 'not_affected' };
    assert.deepEqual(fields('openvex', vex(base)), ['predicate.statements[0]']);
    assert.deepEqual(fields('openvex', vex({ ...base, justification: 'component_not_present' })), []);
    assert.deepEqual(fields('openvex', vex({ ...base, status: 'fine', vulnerability: 7 })), [
      'predicate.statements[0].vulnerability',
      'predicate.statements[0].status',
    ]);
  });

  test('link', () => {
    const link = {
      _type: 'link',
      name: 'build',
      command: [],
      materials: {},
      products: {},
      byproducts: {},
      environment: {},
    };
    assert.deepEqual(fields('link', link), []);
    for (const name of Object.keys(link))
      assert.deepEqual(fields('link', { ...link, [name]: 7 }), [`predicate.${name}`]);
  });

  test("custom is wrapped as cosign does, and the clock is the caller's", () => {
    const wrapped = (predicate: unknown) => check('custom', predicate).predicate;
    assert.deepEqual(wrapped({ a: [1, '\u00fc'] }), { Data: '{"a":[1,"\u00fc"]}', Timestamp: '2026-11-27T00:00:04Z' });
    assert.deepEqual(wrapped('plain text'), { Data: 'plain text', Timestamp: '2026-11-27T00:00:04Z' });
    assert.deepEqual(wrapped(null), { Data: 'null', Timestamp: '2026-11-27T00:00:04Z' });
  });
});
