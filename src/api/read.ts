import { type DescMessage, fromBinary, fromJson, type MessageShape } from '@bufbuild/protobuf';
import type { JsonValue } from '../codec/strict-json.ts';
import { CountersignError, type FieldViolation, invalidArgument } from '../model/error.ts';
import { jsonViolations } from './json-violations.ts';

/**
 * Protobuf bytes -> message. `bytes` fields are views of `body`, not copies: nothing keeps them beyond the request. Throws
 * `invalid_argument`, reason `MALFORMED_MESSAGE` (truncated, bad UTF-8, nested deeper than 100).
 */
export const readBinary = <Schema extends DescMessage>(schema: Schema, body: Uint8Array): MessageShape<Schema> => {
  // A plain Uint8Array, so that bytes fields are none of Buffer's kind, whose slice() does not copy.
  const plain = new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  try {
    return fromBinary(schema, plain, { readUnknownFields: false });
  } catch (cause) {
    throw new CountersignError(
      'invalid_argument',
      'MALFORMED_MESSAGE',
      `The bytes are not a ${schema.typeName} in protobuf encoding; generate the client from the same proto.`,
      { cause },
    );
  }
};

/** JSON value (proto3 JSON mapping, unknown fields refused) -> message. Throws `invalid_argument` that names every bad field. */
export const readJson = <Schema extends DescMessage>(schema: Schema, value: JsonValue): MessageShape<Schema> => {
  try {
    return fromJson(schema, value);
  } catch (cause) {
    const violations = jsonViolations(schema, value);
    const unnamed: FieldViolation = { field: '', description: `cannot be read as a ${schema.typeName}` };
    const error = invalidArgument(violations.length > 0 ? violations : [unnamed]);
    error.cause = cause;
    throw error;
  }
};
