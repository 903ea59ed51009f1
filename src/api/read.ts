import { type DescMessage, fromBinary, fromJson, getOption, type MessageShape } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { field as fieldRules } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
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
  refuseTooMany(schema, plain);
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

/**
 * Counts the items of lists of messages by their tags: an empty one is two bytes on the wire and a hundred in memory, so a
 * few MiB of them would hold the process up for seconds before their number is judged.
 */
const refuseTooMany = (schema: DescMessage, body: Uint8Array): void => {
  const left = new Map<number, number>();
  const lists = schema.fields.filter((field) => field.fieldKind === 'list' && field.message !== undefined);
  for (const field of lists) {
    const { type } = getOption(field, fieldRules);
    if (type.case === 'repeated' && type.value.maxItems > 0n) left.set(field.number, Number(type.value.maxItems));
  }
  if (left.size === 0) return;
  const reader = new BinaryReader(body);
  try {
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      reader.skip(wireType, number);
      const count = left.get(number);
      if (count === undefined) continue;
      left.set(number, count - 1);
      if (count === 0) break;
    }
  } catch {
    return; // malformed: reading it says so
  }
  const violations = lists.flatMap(({ name, number }) => {
    const description = 'has more items than are allowed';
    return (left.get(number) ?? 0) < 0 ? [{ field: name, description }] : [];
  });
  if (violations.length > 0) throw invalidArgument(violations);
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
  // Without its bad member a oneof would seem to be missing.
  for (const { name, oneof } of schema.fields) if (oneof !== undefined && bad.has(name)) bad.add(oneof.name);
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
