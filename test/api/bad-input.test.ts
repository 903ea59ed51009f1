import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fromJson, toBinary } from '@bufbuild/protobuf';
import type { Client, ServiceError } from '@grpc/grpc-js';
import { detailTypes } from '../../src/api/status.ts';
import type { JsonObject } from '../../src/codec/strict-json.ts';
import {
  SignBatchRequestSchema,
  type SignBatchResponse,
  SignBatchResponseSchema,
  SigningService,
} from '../../src/gen/countersign/v1/signing_pb.ts';
import { spoilMessage } from './bad-values.ts';
import {
  callRaw,
  callRest,
  detailsOf,
  grpcClient,
  openStream,
  pathOf,
  postRest,
  problemViolations,
  statusDetails,
} from './clients.ts';
import { batchSample, getKey, samples } from './samples.ts';
import { startWorld, type World } from './world.ts';

let world: World;
let client: Client;
before(async () => {
  world = await startWorld();
  client = grpcClient(world.grpc.port);
});
after(async () => {
  client.close();
  await world.close();
});

/** Does one violation name this field, shortened as long names are, and say something? */
const names = (violations: readonly { field: string; description: string }[], field: string): boolean =>
  violations.some((each) => {
    const shown = each.field.endsWith('…') ? field.startsWith(each.field.slice(0, -1)) : each.field === field;
    return shown && each.description.length > 3;
  });

for (const sample of samples) {
  describe(sample.name, () => {
    test('is accepted as it is, on both edges', async () => {
      const rest = await callRest(world.rest.port, sample.path, sample.json);
      assert.equal(rest.status, 200, JSON.stringify(rest.body));
      const bytes = toBinary(sample.method.input, fromJson(sample.method.input, sample.json));
      const grpc = await callRaw(client, pathOf(sample.method), bytes);
      assert.equal(grpc.error, undefined);
      const [overRest, overGrpc] = world.service.commands.slice(-2);
      assert.deepEqual(overGrpc, overRest, 'both edges must make the same command');
    });

    const cases = [...spoilMessage(sample.method.input, sample.json)];
    test(`each of ${cases.length} bad requests names its field over REST`, async () => {
      assert.ok(cases.length > 20);
      for (const { what, field, json } of cases) {
        const { status, body } = await callRest(world.rest.port, sample.path, json);
        const said = `${field}: ${what}: ${JSON.stringify(body)}`;
        assert.equal(status, 400, said);
        assert.equal(body['code'], 'invalid_argument', said);
        assert.ok(names(problemViolations(body), field), said);
      }
    });

    test('and over gRPC, where protobuf can carry it', async () => {
      for (const { what, field, json } of cases.filter(({ binary }) => binary)) {
        const bytes = toBinary(sample.method.input, fromJson(sample.method.input, json));
        const { error } = await callRaw(client, pathOf(sample.method), bytes);
        assert.ok(error, `${field}: ${what} was accepted`);
        assert.equal(error.code, 3, `${field}: ${what}: ${error.message}`);
        const violations = detailsOf(error).bad?.fieldViolations ?? [];
        assert.ok(names(violations, field), `${field}: ${what}: ${JSON.stringify(violations)}`);
      }
    });
  });
}

describe('Sign a batch', () => {
  const { method, path, json: good } = batchSample;
  const cases = [...spoilMessage(method.input, good)];
  /** Does this concern one item, and not the batch? */
  const isOfItem = (field: string): boolean => /^items\[\d+\]\.(?!reference$)/.test(field);

  const over = {
    REST: async (json: JsonObject) => {
      const response = await postRest(world.rest.port, path, json);
      const text = await response.text();
      if (response.status !== 200) return { refused: problemViolations(JSON.parse(text)), messages: [] };
      const lines = text.trimEnd().split('\n');
      const messages = lines.map((line) =>
        fromJson(SignBatchResponseSchema, JSON.parse(line), { registry: detailTypes }),
      );
      return { refused: [], messages };
    },
    gRPC: async (json: JsonObject) => {
      const messages: SignBatchResponse[] = [];
      try {
        const stream = openStream(client, SigningService.method.signBatch, fromJson(SignBatchRequestSchema, json));
        for await (const message of stream) messages.push(message);
      } catch (caught) {
        return { refused: detailsOf(caught as ServiceError).bad?.fieldViolations ?? [], messages };
      }
      return { refused: [], messages };
    },
  };

  for (const [edge, call] of Object.entries(over)) {
    test(`each of ${cases.length} bad requests is answered for its item, or as a whole, over ${edge}`, async () => {
      assert.deepEqual((await call(good)).messages.map(({ outcome }) => outcome.case).sort(), ['attested', 'signed']);
      assert.ok(cases.length > 50);
      for (const { what, field, json, binary } of cases) {
        if (edge === 'gRPC' && !binary) continue;
        const { refused, messages } = await call(json);
        const errors = messages.flatMap(({ outcome }) => (outcome.case === 'error' ? [outcome.value] : []));
        const said = `${field}: ${what}: ${JSON.stringify([refused, errors.map(({ message }) => message)])}`;
        if (!isOfItem(field)) {
          assert.ok(names(refused, field) && messages.length === 0, said);
          continue;
        }
        assert.deepEqual([messages.length, errors.length], [2, 1], said);
        for (const error of errors) assert.ok(names(statusDetails(error).bad?.fieldViolations ?? [], field), said);
      }
    });
  }
});

test('bad keys of GetKey, in a path and in a message', async () => {
  for (const key of ['A', 'a%3Ab', 'a:sign', '%00', '-a', 'a'.repeat(64), '%20']) {
    const { status, body } = await callRest(world.rest.port, `/v1/keys/${key}`);
    assert.equal(status, 400, key);
    assert.deepEqual(
      problemViolations(body).map(({ field }) => field),
      ['key'],
    );
  }
  const { error } = await callRaw(client, pathOf(getKey.method), new Uint8Array());
  assert.equal(error && detailsOf(error).bad?.fieldViolations[0]?.field, 'key');
});

test('several bad fields are all named at once', async () => {
  const { body } = await callRest(world.rest.port, '/v1/sign', {
    subject: { blobDigest: { name: ' a', digest: 'sha1:00' } },
    key: 'Not A Key',
    formats: ['FORMAT_DSSE', 'FORMAT_SIMPLE_SIGNING'],
    annotations: { 'dev.countersign/rule': 'mine', 'bad name': 'x' },
    storage: { mode: 9, repository: 'with space' },
  });
  const fields = problemViolations(body).map(({ field }) => field);
  for (const field of [
    'subject.blob_digest.name',
    'subject.blob_digest.digest',
    'key',
    'formats[0]',
    'annotations["bad name"]',
    'annotations["dev.countersign/rule"]',
    'storage.mode',
    'storage.repository',
  ]) {
    assert.ok(fields.includes(field), `${field} is missing in ${fields}`);
  }
});

test('malformed protobuf is invalid_argument, never a crash', async () => {
  const bodies = [
    Buffer.from([0xff]),
    Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    Buffer.from([0x12, 0x03, 0xff, 0xfe, 0xfd]),
    Buffer.from([0x0a, 0x05, 0x01]),
    Buffer.from([0x0f]),
    // key (field 2) as a varint
    Buffer.from([0x10, 0x01]),
  ];
  for (const sample of samples) {
    for (const body of bodies) {
      const { error } = await callRaw(client, pathOf(sample.method), body);
      assert.equal(error?.code, 3, `${sample.name} ${body.toString('hex')}: ${error?.message}`);
    }
  }
});
