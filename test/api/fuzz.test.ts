import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromJson, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { type Decoder, methods, streamMethods } from '../../src/api/methods.ts';
import { readBinary } from '../../src/api/read.ts';
import { readRest, readRestJson } from '../../src/api/rest-request.ts';
import { routesOf } from '../../src/api/routes.ts';
import { CountersignError } from '../../src/model/error.ts';
import { batchSample, samples } from './samples.ts';

/** Either a command comes out, or the caller is told that the request is bad; nothing else. */
const decides = (decode: () => unknown): boolean => {
  try {
    decode();
    return true;
  } catch (caught) {
    assert.ok(caught instanceof CountersignError, String(caught));
    assert.equal(caught.code, 'invalid_argument');
    assert.ok(caught.message.length > 0);
    return true;
  }
};

for (const { name, method: desc, json } of [...samples, { name: 'Sign a batch', ...batchSample }]) {
  const method: Decoder<unknown> | undefined = [...methods, ...streamMethods].find((each) => each.desc === desc);
  const [route] = routesOf(desc);
  assert.ok(method && route);
  const decodeBytes = (bytes: Uint8Array): unknown => method.decode(readBinary(desc.input, bytes));
  const decodeText = (body: Uint8Array): unknown => {
    const parts = { path: {}, query: '', body };
    return method.decodeJson === undefined
      ? method.decode(readRest(desc.input, route, parts, 1 << 22))
      : method.decodeJson(readRestJson(desc.input, route, parts, 1 << 22));
  };
  const binary = toBinary(desc.input, fromJson(desc.input, json));
  const text = Buffer.from(JSON.stringify(json));

  for (const [kind, valid, decode] of [
    ['protobuf', binary, decodeBytes],
    ['JSON', text, decodeText],
  ] as const) {
    test(`${name}: damaged ${kind} is invalid_argument or a command`, () => {
      const damage = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(damage, fc.nat(valid.length), (changes, end) => {
          const bytes = new Uint8Array(valid);
          for (const [at, value] of changes) bytes[at] = value;
          return decides(() => decode(bytes)) && decides(() => decode(bytes.subarray(0, end)));
        }),
        { numRuns: 200 },
      );
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => decides(() => decode(bytes))),
        { numRuns: 200 },
      );
    });
  }
  test(`${name}: any JSON value is invalid_argument or a command`, () => {
    fc.assert(
      fc.property(fc.json(), (value) => decides(() => decodeText(Buffer.from(value)))),
      { numRuns: 200 },
    );
  });
}
