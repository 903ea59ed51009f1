import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { isJsonObject, type JsonValue } from '../codec/strict-json.ts';
import type { FieldViolation } from '../model/error.ts';

const known = (schema: DescMessage): string => schema.fields.map(({ name }) => name).join(', ');

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`);

/** A key that a stranger chose, fit for a path. */
const quoted = (key: string): string => (/^\w{1,64}$/.test(key) ? key : JSON.stringify(key.slice(0, 64)));

const kindOf = (value: JsonValue): string =>
  value === null
    ? 'null'
    : Array.isArray(value)
      ? 'an array'
      : typeof value === 'object'
        ? 'an object'
        : `a ${typeof value}`;

const base64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

/**
 * Names everything in a JSON value that cannot be read as a message (proto3 JSON mapping): unknown fields, wrong types, bad
 * enum names, bad base64, several members of a oneof; each with its path. Only called once reading has failed.
 */
export const jsonViolations = (schema: DescMessage, value: JsonValue, path = ''): FieldViolation[] => {
  if (!isJsonObject(value)) return [{ field: path, description: `must be a JSON object, not ${kindOf(value)}` }];
  const violations: FieldViolation[] = [];
  const seen = new Map<DescField, string>();
  for (const [key, item] of Object.entries(value)) {
    const field = schema.fields.find(({ name, jsonName }) => name === key || jsonName === key);
    if (field === undefined) {
      const description = schema.fields.length === 0 ? 'is unknown' : `is unknown; known are ${known(schema)}`;
      violations.push({ field: join(path, quoted(key)), description });
      continue;
    }
    const twin = seen.get(field);
    if (twin !== undefined) violations.push({ field: join(path, key), description: `is the same field as ${twin}` });
    seen.set(field, key);
    if (item !== null) violations.push(...fieldViolations(field, item, join(path, field.name)));
  }
  for (const oneof of schema.oneofs) {
    const set = oneof.fields.filter((field) => {
      const key = seen.get(field);
      return key !== undefined && value[key] !== null;
    });
    if (set.length > 1) {
      const names = set.map(({ name }) => name).join(' and ');
      violations.push({ field: join(path, oneof.name), description: `has ${names}; set only one of them` });
    }
  }
  return violations;
};

const fieldViolations = (field: DescField, value: JsonValue, path: string): FieldViolation[] => {
  if (field.fieldKind === 'list') {
    if (!Array.isArray(value)) return [{ field: path, description: `must be an array, not ${kindOf(value)}` }];
    return value.flatMap((item, index) => singular(field, item, `${path}[${index}]`));
  }
  if (field.fieldKind === 'map') {
    if (!isJsonObject(value)) return [{ field: path, description: `must be an object, not ${kindOf(value)}` }];
    return Object.entries(value).flatMap(([key, item]) =>
      singular(field, item, `${path}[${JSON.stringify(key.slice(0, 64))}]`),
    );
  }
  return singular(field, value, path);
};

const singular = (field: DescField, value: JsonValue, path: string): FieldViolation[] => {
  if (field.message) return jsonViolations(field.message, value, path);
  const fault = field.enum ? enumFault(field.enum, value) : scalarFault(field.scalar, value);
  return fault === undefined ? [] : [{ field: path, description: fault }];
};

const enumFault = (schema: DescEnum, value: JsonValue): string | undefined => {
  if (typeof value === 'number' && Number.isInteger(value)) return undefined;
  if (typeof value === 'string' && schema.values.some(({ name }) => name === value)) return undefined;
  const names = schema.values.filter(({ number }) => number !== 0).map(({ name }) => name);
  return `must be one of ${names.join(', ')}`;
};

const scalarFault = (scalar: ScalarType | undefined, value: JsonValue): string | undefined => {
  switch (scalar) {
    case ScalarType.STRING:
      return typeof value === 'string' ? undefined : `must be a string, not ${kindOf(value)}`;
    case ScalarType.BOOL:
      return typeof value === 'boolean' ? undefined : `must be true or false, not ${kindOf(value)}`;
    case ScalarType.BYTES:
      if (typeof value !== 'string') return `must be a string of base64, not ${kindOf(value)}`;
      return base64.test(value) ? undefined : 'must be base64 (RFC 4648)';
    default:
      return typeof value === 'number' || typeof value === 'string'
        ? undefined
        : `must be a number, not ${kindOf(value)}`;
  }
};
