// SignBatch on both edges over a fake service: which faults are those of an item, and which of the batch.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { JsonValue } from '../../src/codec/strict-json.ts';
import { SigningService } from '../../src/gen/countersign/v1/signing_pb.ts';
import { CountersignError } from '../../src/model/error.ts';
import { all, attestItem, edges, errorOf, type Item, many, manyJson, read, signItem, signJson } from './batches.ts';
import { start } from './calls.ts';
import {
  callRaw,
  callRest,
  detailsOf,
  openStream,
  pathOf,
  problemViolations,
  restLines,
  statusDetails,
} from './clients.ts';
import { signResult } from './world.ts';

describe('what fails alone', () => {
  const bad: readonly { readonly what: string; readonly item: Item; readonly fields: readonly string[] }[] = [
    { what: 'no request', item: { reference: 'bad' }, fields: ['request'] },
    {
      what: 'no subject and no key',
      item: { reference: 'bad', request: { case: 'sign', value: {} } },
      fields: ['sign.subject', 'sign.key'],
    },
    { what: 'a bad key', item: signItem('bad', { key: 'Not A Key' }), fields: ['sign.key'] },
    {
      what: 'a format of Attest, a reserved annotation',
      item: signItem('bad', { formats: [2], annotations: { 'dev.countersign/rule': 'mine' } }),
      fields: ['sign.formats[0]', 'sign.annotations["dev.countersign/rule"]'],
    },
    {
      what: 'a malformed reference',
      item: signItem('bad', { subject: { kind: { case: 'image', value: 'a//b' } } }),
      fields: ['sign.subject.image'],
    },
    {
      what: 'no predicate',
      item: {
        reference: 'bad',
        request: {
          case: 'attest',
          value: {
            subject: { kind: { case: 'image', value: 'registry.example/a:v1' } },
            key: 'release',
            predicateType: 'a',
          },
        },
      },
      fields: ['attest.predicate'],
    },
  ];

  test('each kind of bad item, by its path from the batch', async (t) => {
    const { client, world } = await start(t);
    const items = [
      signItem('first'),
      ...bad.map(({ item }, at) => ({ ...item, reference: `bad${at}` })),
      attestItem('last'),
    ];
    const messages = await all(openStream(client, SigningService.method.signBatch, { items }));
    assert.deepEqual(
      messages.map(({ index }) => index).sort((a, b) => a - b),
      [...items.keys()],
    );
    for (const message of messages) {
      const wanted = bad[message.index - 1];
      assert.equal(message.reference, items[message.index]?.reference);
      if (wanted === undefined) {
        assert.equal(message.outcome.case, message.reference === 'first' ? 'signed' : 'attested');
        continue;
      }
      const { code, info, request, bad: said } = errorOf(message);
      assert.deepEqual([code, info?.reason], [3, 'INVALID_REQUEST'], wanted.what);
      const fields = said?.fieldViolations.map(({ field }) => field).sort();
      assert.deepEqual(fields, wanted.fields.map((field) => `items[${message.index}].${field}`).sort(), wanted.what);
      const batch = world.logs.find(({ fields }) => fields['method'] === 'SignBatch');
      assert.equal(
        request?.requestId,
        `${batch?.fields['requestId'] ?? request?.requestId.split('.')[0]}.${message.index}`,
      );
    }
    assert.equal(world.service.commands.length, 2);
  });

  test('what JSON cannot be read of one item', async (t) => {
    const { world } = await start(t);
    const items = [
      signJson('good'),
      signJson('unknown', { no_such_field: 1 }),
      { reference: 'both', sign: signJson('x').sign, attest: {} },
      { reference: 'type', sign: 'text' },
      { reference: 'beside', other: 1 },
    ];
    const lines: Record<string, unknown>[] = [];
    for await (const line of restLines(world.rest.port, '/v1/sign:batch', { items })) lines.push(line);
    const violations = new Map(
      lines.map((line) => {
        const message = read(line as JsonValue);
        const said = message.outcome.case === 'error' ? statusDetails(message.outcome.value).bad : undefined;
        return [message.reference, said?.fieldViolations.map(({ field }) => field)];
      }),
    );
    assert.deepEqual(Object.fromEntries(violations), {
      good: undefined,
      unknown: ['items[1].sign.no_such_field'],
      both: ['items[2].request'],
      type: ['items[3].sign'],
      beside: ['items[4].other', 'items[4].request'],
    });
    const { error } = lines.find(({ reference }) => reference === 'type') as {
      error: { details: { '@type': string }[] };
    };
    assert.equal(error.details[0]?.['@type'], 'type.googleapis.com/google.rpc.ErrorInfo');
  });

  test('each failure of the service, as rich as it would be alone', async (t) => {
    const errors = [
      new CountersignError('permission_denied', 'POLICY_DENIED', 'No rule allows it.', {
        metadata: { rule: 'nearest' },
      }),
      new CountersignError('unavailable', 'REGISTRY_UNAVAILABLE', 'Down.', { retryAfterMs: 2_500 }),
      new Error('a secret'),
    ];
    const { client, world } = await start(t, {
      sign: async ({ subject }) => {
        const at = subject.kind === 'image' ? /app(\d)/.exec(subject.reference)?.[1] : undefined;
        const error = errors[Number(at)];
        if (error !== undefined) throw error;
        return signResult();
      },
    });
    const messages = await all(openStream(client, SigningService.method.signBatch, { items: many(4) }));
    const [denied, down, internal, good] = messages.toSorted((a, b) => a.index - b.index);
    assert.ok(denied && down && internal && good);
    assert.deepEqual([errorOf(denied).code, errorOf(denied).info?.metadata], [7, { rule: 'nearest' }]);
    assert.deepEqual([errorOf(down).code, errorOf(down).retry?.retryDelay?.nanos], [14, 500_000_000]);
    assert.deepEqual([errorOf(internal).code, errorOf(internal).info?.reason], [13, 'INTERNAL']);
    assert.ok(!errorOf(internal).status.message.includes('secret'));
    assert.equal(good.outcome.case, 'signed');
    const lines = world.logs.filter(({ fields }) => fields['method'] === 'SignBatch.Sign');
    assert.deepEqual(lines.map(({ level }) => level).sort(), ['error', 'info', 'info', 'warn']);
    assert.ok(
      lines.every(({ fields }) => /\.[0-3]$/.test(String(fields['requestId'])) && fields['subject'] !== undefined),
    );
    const causes = lines.map(({ fields }) => (fields['err'] instanceof Error ? fields['err'].message : undefined));
    assert.ok(causes.includes('a secret'));
  });
});

describe('what fails as a whole', () => {
  const refused: readonly { readonly what: string; readonly body: object; readonly fields: readonly string[] }[] = [
    { what: 'no items', body: {}, fields: ['items'] },
    { what: 'an empty list', body: { items: [] }, fields: ['items'] },
    { what: 'too many', body: { items: manyJson(1_001) }, fields: ['items'] },
    {
      what: 'no reference',
      body: { items: [signJson('a'), { sign: signJson('b').sign }] },
      fields: ['items[1].reference'],
    },
    { what: 'a bad reference', body: { items: [signJson('a b')] }, fields: ['items[0].reference'] },
    {
      what: 'one reference twice',
      body: { items: [signJson('a'), signJson('b'), signJson('a')] },
      fields: ['items[2].reference'],
    },
    { what: 'no object', body: { items: [signJson('a'), 5, null] }, fields: ['items[1]', 'items[2]'] },
    { what: 'a reference that is no text', body: { items: [{ reference: 5 }] }, fields: ['items[0].reference'] },
    { what: 'an unknown field', body: { items: [signJson('a')], parallel: 5 }, fields: ['parallel'] },
    { what: 'no list', body: { items: {} }, fields: ['items'] },
  ];

  test('over REST: a problem as any other, and nothing is signed', async (t) => {
    const { world } = await start(t);
    for (const { what, body, fields } of refused) {
      const answer = await callRest(world.rest.port, '/v1/sign:batch', body);
      assert.equal(answer.status, 400, what);
      assert.equal(answer.headers.get('content-type'), 'application/problem+json');
      assert.deepEqual(
        problemViolations(answer.body).map(({ field }) => field),
        fields,
        what,
      );
    }
    assert.deepEqual(world.service.commands, []);
    const stranger = await callRest(
      world.rest.port,
      '/v1/sign:batch',
      { items: manyJson(1) },
      { authorization: 'Bearer x' },
    );
    assert.equal(stranger.status, 401);
    for (const path of ['/v1/sign:other', '/v1/signbatch', '/v1/sign::batch']) {
      assert.equal((await callRest(world.rest.port, path, {})).status, 404, path);
    }
    assert.equal((await callRest(world.rest.port, '/v1/sign:batch')).status, 405);
  });

  test('over gRPC as well, also millions of empty items', async (t) => {
    const { client, world } = await start(t);
    for (const items of [[], many(1_001), [signItem('a'), signItem('a')]]) {
      const stream = openStream(client, SigningService.method.signBatch, { items });
      await assert.rejects(all(stream), { code: 3 });
    }
    // Two bytes an item: field 1, length 0.
    const { error } = await callRaw(
      client,
      pathOf(SigningService.method.signBatch),
      Buffer.alloc(4_000_000, '0a00', 'hex'),
    );
    assert.deepEqual(error && detailsOf(error).bad?.fieldViolations.map(({ field }) => field), ['items']);
    assert.deepEqual(world.service.commands, []);
  });

  test('Accept decides whether lines are wanted', async (t) => {
    const { world } = await start(t);
    const body = { items: manyJson(1) };
    for (const accept of [
      '*/*',
      'application/x-ndjson',
      'text/html, application/*;q=0.1',
      'APPLICATION/X-NDJSON; q=1',
    ]) {
      const response = await callRest(world.rest.port, '/v1/sign:batch', body, { accept });
      assert.equal(response.status, 200, accept);
      assert.equal(response.headers.get('content-type'), 'application/x-ndjson');
      assert.match(response.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
    }
    for (const accept of ['application/json', 'text/html', '*/*, application/x-ndjson;q=0.0']) {
      const response = await callRest(world.rest.port, '/v1/sign:batch', body, { accept });
      assert.deepEqual([response.status, response.body['reason']], [406, 'NOT_ACCEPTABLE'], accept);
    }
  });

  test('a call that ends early says why: the status, or the last line', async (t) => {
    const setup = await start(t, {
      signBatch: async function* (command) {
        const { reference = '' } = command.items[0] ?? {};
        yield { reference, index: 0, verb: 'sign', requestId: 'r.0', ms: 1, outcome: signResult() };
        throw new CountersignError('internal', 'BROKEN', 'It broke.');
      },
    });
    const [grpc, rest] = edges;
    assert.ok(grpc && rest);
    await assert.rejects(all(grpc.open(setup, 3).messages), { code: 13, details: 'It broke.' });
    const [first, last, ...more] = await all(rest.open(setup, 3).messages);
    assert.ok(first && last);
    assert.deepEqual([first.reference, first.outcome.case, more], ['app0', 'signed', []]);
    assert.deepEqual([last.reference, errorOf(last).info?.reason], ['', 'BROKEN']);
  });
});
