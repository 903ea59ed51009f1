import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fromJson, toJson } from '@bufbuild/protobuf';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { openApiDocument } from '../../src/api/rest.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../src/codec/strict-json.ts';
import { spoilMessage } from './bad-values.ts';
import { callRest, restLines } from './clients.ts';
import { batchSample, samples } from './samples.ts';
import { startWorld, type World } from './world.ts';

const document: JsonObject = JSON.parse(openApiDocument());

const at = (pointer: string): JsonValue => {
  let value: JsonValue = document;
  for (const part of pointer.slice(2).split('/')) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (!isJsonObject(value) || value[name] === undefined) throw new Error(`nothing at ${pointer}`);
    value = value[name];
  }
  return value;
};

const each = (value: JsonValue, visit: (object: JsonObject) => void): void => {
  if (Array.isArray(value)) for (const item of value) each(item, visit);
  else if (isJsonObject(value)) {
    visit(value);
    for (const item of Object.values(value)) each(item, visit);
  }
};

const ajv = new Ajv2020({ strict: true, allErrors: true, strictRequired: false, validateFormats: true });
formats.default(ajv);
ajv.addVocabulary(['components', 'openapi', 'info', 'servers', 'security', 'tags', 'paths']);
ajv.addSchema({ $id: 'https://document.example/', ...document });
const validator = (pointer: string): ValidateFunction => {
  const validate = ajv.getSchema(`https://document.example/${pointer}`);
  assert.ok(validate, pointer);
  return validate;
};
const schemaOf = (path: string, part: 'request' | 'response', type = 'application/json'): ValidateFunction => {
  const post = `#/paths/${path.replaceAll('/', '~1')}/post`;
  const content = part === 'request' ? `${post}/requestBody/content` : `${post}/responses/200/content`;
  const { $ref } = at(`${content}/${type.replace('/', '~1')}/schema`) as { $ref: string };
  return validator($ref);
};

let world: World;
before(async () => {
  world = await startWorld();
});
after(() => world.close());

test('the document has the structure of OpenAPI 3.1', () => {
  const string = { type: 'string', minLength: 1 };
  const object = (properties: object, required: string[] = [], additionalProperties: unknown = false) => ({
    type: 'object',
    properties,
    required,
    additionalProperties,
  });
  const map = (values: object) => ({ type: 'object', additionalProperties: values });
  const reference = object({ $ref: { type: 'string', pattern: '^#/components/' } }, ['$ref']);
  const schema = { type: 'object' };
  const media = map(object({ schema }, ['schema']));
  const header = { anyOf: [reference, object({ description: string, schema }, ['schema'])] };
  const response = {
    anyOf: [reference, object({ description: string, headers: map(header), content: media }, ['description'])],
  };
  const parameter = object(
    {
      name: string,
      in: { enum: ['path', 'header', 'query'] },
      description: string,
      required: { type: 'boolean' },
      schema,
      example: true,
    },
    ['name', 'in', 'schema'],
  );
  const operation = object(
    {
      operationId: string,
      tags: { type: 'array', items: string },
      summary: string,
      description: string,
      parameters: { type: 'array', items: parameter },
      requestBody: object({ required: { const: true }, content: media }, ['content']),
      responses: {
        ...map(response),
        propertyNames: { pattern: '^([1-5][0-9][0-9]|default)$' },
        required: ['200', 'default'],
      },
    },
    ['operationId', 'responses', 'summary', 'description'],
  );
  const structure = object(
    {
      openapi: { const: '3.1.0' },
      info: object(
        {
          title: string,
          version: string,
          summary: string,
          description: string,
          license: object({ name: string, identifier: string }, ['name']),
        },
        ['title', 'version'],
      ),
      servers: { type: 'array', items: object({ url: string }, ['url']) },
      security: { type: 'array', items: map({ type: 'array', items: string }) },
      tags: { type: 'array', items: object({ name: string, description: string }, ['name']) },
      paths: { ...map(map(operation)), propertyNames: { pattern: '^/' } },
      components: object({
        securitySchemes: map(schema),
        headers: map(header),
        responses: map(response),
        schemas: map(schema),
      }),
    },
    ['openapi', 'info', 'paths'],
  );
  const check = new Ajv2020({ strict: true, strictRequired: false, allErrors: true }).compile(structure);
  assert.ok(check(document), JSON.stringify(check.errors, undefined, 1));
});

test('every schema is JSON Schema 2020-12, every reference leads somewhere, everything is used', () => {
  const used = new Set<string>();
  each(document, ({ $ref }) => {
    if (typeof $ref !== 'string') return;
    at($ref);
    used.add($ref);
  });
  for (const [kind, components] of Object.entries(at('#/components') as JsonObject)) {
    if (kind === 'securitySchemes') continue;
    for (const name of Object.keys(components as JsonObject)) {
      const pointer = `#/components/${kind}/${name}`;
      assert.ok(used.has(pointer), `${pointer} is not used`);
      if (kind === 'schemas') validator(pointer);
    }
  }
});

test('every field, message, enum and operation has a description', () => {
  for (const [name, schema] of Object.entries(at('#/components/schemas') as Record<string, JsonObject>)) {
    assert.ok(schema['description'], name);
    if (name === 'Problem') continue;
    for (const [field, value] of Object.entries((schema['properties'] ?? {}) as Record<string, JsonObject>)) {
      assert.ok(value['description'], `${name}.${field}`);
    }
  }
});

for (const sample of samples) {
  describe(sample.name, () => {
    test('the document accepts the request and the answer', async () => {
      const request = schemaOf(sample.path, 'request');
      assert.ok(request(sample.json), JSON.stringify(request.errors));
      const written = toJson(sample.method.input, fromJson(sample.method.input, sample.json));
      assert.ok(request(written), JSON.stringify(request.errors));
      const { body } = await callRest(world.rest.port, sample.path, sample.json);
      const response = schemaOf(sample.path, 'response');
      assert.ok(response(body), JSON.stringify(response.errors));
    });

    test('the document refuses what the service refuses, and its problem is as described', async () => {
      const request = schemaOf(sample.path, 'request');
      const problem = validator('#/components/schemas/Problem');
      for (const { what, field, json } of spoilMessage(sample.method.input, sample.json)) {
        assert.ok(!request(json), `${field}: ${what} is accepted by the document`);
        const { body } = await callRest(world.rest.port, sample.path, json);
        assert.ok(problem(body), `${field}: ${what}: ${JSON.stringify(problem.errors)}`);
      }
    });
  });
}

test('a batch: the document accepts the request and each line of the answer, and refuses what is refused of an item', async () => {
  const { method, path, json } = batchSample;
  const request = schemaOf(path, 'request');
  assert.ok(request(json), JSON.stringify(request.errors));
  const line = schemaOf(path, 'response', 'application/x-ndjson');
  const bad = { reference: 'bad', sign: {} };
  let errors = 0;
  const items = [...(json['items'] as JsonValue[]), bad];
  for await (const message of restLines(world.rest.port, path, { items })) {
    assert.ok(line(message), JSON.stringify(line.errors));
    if (message['error'] !== undefined) errors += 1;
  }
  assert.equal(errors, 1);
  for (const { what, field, json: spoiled } of spoilMessage(method.input, json)) {
    assert.ok(!request(spoiled), `${field}: ${what} is accepted by the document`);
  }
});

test('the answers of the methods without a body are as described', async () => {
  for (const [path, schema] of [
    ['/v1/keys', 'ListKeysResponse'],
    ['/v1/keys/release', 'GetKeyResponse'],
  ] as const) {
    const { body } = await callRest(world.rest.port, path);
    const validate = validator(`#/components/schemas/${schema}`);
    assert.ok(validate(body), JSON.stringify(validate.errors));
  }
});
