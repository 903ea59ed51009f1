import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { printSchema } from '../../src/config/print-schema.ts';

const schema = JSON.parse(printSchema()) as Record<string, unknown>;
// zod writes formats (uri) that ajv leaves to plug-ins; the patterns beside them are checked.
const validate = new Ajv2020({ strict: true, allowUnionTypes: true, validateFormats: false }).compile(schema);

const config = {
  listeners: { grpc: { address: '127.0.0.1:8080', transport: 'plaintext' } },
  callers: { oidc: [{ issuer: 'https://issuer.example', audience: 'countersign' }] },
  policy: { files: ['policy.yaml'] },
  keys: [{ name: 'release', kind: 'local', file: 'release.key' }],
  audit: { kind: 'stdout' },
};

test('the JSON Schema takes what the loader takes, defaults left out', () => {
  assert.equal(validate(config), true, JSON.stringify(validate.errors));
});

test('the JSON Schema refuses unknown settings and wrong types', () => {
  assert.equal(validate({ ...config, listners: {} }), false);
  assert.equal(validate({ ...config, audit: { kind: 'file' } }), false);
  assert.equal(validate({ ...config, limits: { drainMs: 25_001 } }), false);
  assert.equal(validate({ ...config, keys: [{ name: 'release', kind: 'vault' }] }), false);
});

test('every section is described', () => {
  for (const [name, section] of Object.entries(schema['properties'] as Record<string, { description?: string }>)) {
    assert.ok(section.description, name);
  }
});
