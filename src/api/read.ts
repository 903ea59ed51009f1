import { type DescMessage, fromBinary, fromJson, type MessageShape } from '@bufbuild/protobuf';
import { isJsonObject, type JsonValue } from '../codec/strict-json.ts';
import { CountersignError, type FieldViolation, invalidArgument } from '../model/error.ts';
import { jsonViolations } from './json-violations.ts';
import { violationsOf } from './validation.ts';

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
    const all = violations.length > 0 ? [...violations, ...otherViolations(schema, value, violations)] : [unnamed];
    const error = invalidArgument(all);
    error.cause = cause;
    throw error;
  }
};

/** What is wrong, by the contract's rules, in the fields that can be read: so that nobody mends one fault to meet the next. */
const otherViolations = (
  schema: DescMessage,
  value: JsonValue,
  unreadable: readonly FieldViolation[],
): readonly FieldViolation[] => {
  if (!isJsonObject(value)) return [];
  const top = (path: string): string => path.split(/[.[]/, 1)[0] ?? '';
  const bad = new Set(unreadable.map(({ field }) => top(field)));
  const readable = Object.entries(value).filter(([key]) =>
    schema.fields.some(({ name, jsonName }) => (name === key || jsonName === key) && !bad.has(name) && !bad.has(key)),
  );
  try {
    const message = fromJson(schema, Object.fromEntries(readable));
    return violationsOf(schema, message).filter(({ field }) => !bad.has(top(field)));
  } catch {
    return []; // members of one oneof, for example: what has been found is enough
  }
};
