import { type DescField, type DescMessage, type DescOneof, getOption, ScalarType } from '@bufbuild/protobuf';
import { getComments } from '@bufbuild/protoplugin';
import {
  type FieldRules,
  field as fieldRules,
  oneof as oneofRules,
} from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';

/** A JSON Schema 2020-12, or any other object of an OpenAPI document. */
export type Json = { readonly [key: string]: unknown };

/** The comment before an element, as one text: lines joined, paragraphs kept. */
export const commentOf = (desc: Parameters<typeof getComments>[0]): string => {
  const text = getComments(desc).leading ?? '';
  return text
    .split(/\n\s*\n/)
    .map((paragraph) =>
      paragraph
        .split('\n')
        .map((line) => line.trim())
        .join(' ')
        .trim(),
    )
    .join('\n\n')
    .trim();
};

/** Leaves out what is undefined, so that documents hold only what is said. */
const compact = (value: Json): Json =>
  Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined));

const positive = (limit: bigint): number | undefined => (limit > 0n ? Number(limit) : undefined);

/** `content.com.example` -> how components are named: the name without its package, nested names joined. */
export const schemaName = ({ typeName, file }: { typeName: string; file: { proto: { package: string } } }): string =>
  typeName.slice(file.proto.package.length + 1).replaceAll('.', '_');

const scalarSchema = (scalar: ScalarType | undefined, rules: FieldRules | undefined): Json => {
  const type = rules?.type;
  switch (scalar) {
    case ScalarType.STRING: {
      const limits = type?.case === 'string' ? type.value : undefined;
      return compact({
        type: 'string',
        minLength: limits && positive(limits.minLen),
        maxLength: limits && positive(limits.maxLen),
        pattern: limits?.pattern || undefined,
      });
    }
    case ScalarType.BYTES: {
      const limits = type?.case === 'bytes' ? type.value : undefined;
      const encoded = (bytes: bigint): number => Math.ceil(Number(bytes) / 3) * 4;
      return compact({
        type: 'string',
        contentEncoding: 'base64',
        pattern: '^[A-Za-z0-9+/_-]*={0,2}$',
        minLength: limits && limits.minLen > 0n ? Math.ceil((Number(limits.minLen) * 4) / 3) : undefined,
        maxLength: limits && limits.maxLen > 0n ? encoded(limits.maxLen) : undefined,
      });
    }
    case ScalarType.BOOL:
      return { type: 'boolean' };
    case ScalarType.INT32:
      return { type: 'integer', minimum: -(2 ** 31), maximum: 2 ** 31 - 1 };
    case ScalarType.UINT32:
      return { type: 'integer', minimum: 0, maximum: 2 ** 32 - 1 };
    default:
      throw new Error(`no JSON Schema for scalar ${scalar}: the contract has none of it yet`);
  }
};

const singularSchema = (field: DescField, rules: FieldRules | undefined): Json => {
  if (field.message) return { $ref: `#/components/schemas/${schemaName(field.message)}` };
  if (!field.enum) return scalarSchema(field.scalar, rules);
  const excluded = rules?.type.case === 'enum' ? rules.type.value.notIn : [];
  if (excluded.length === 0) return { $ref: `#/components/schemas/${schemaName(field.enum)}` };
  const names = field.enum.values.filter(({ number }) => !excluded.includes(number)).map(({ name }) => name);
  return { type: 'string', enum: names };
};

/** The schema of one field's value (proto3 JSON mapping) with its comment and its protovalidate limits. */
export const fieldSchema = (field: DescField): Json => {
  const rules = getOption(field, fieldRules);
  const description = commentOf(field) || undefined;
  if (field.fieldKind === 'list') {
    const limits = rules.type.case === 'repeated' ? rules.type.value : undefined;
    return compact({
      type: 'array',
      description,
      items: singularSchema(field, limits?.items),
      minItems: limits && positive(limits.minItems),
      maxItems: limits && positive(limits.maxItems),
      uniqueItems: limits?.unique || undefined,
    });
  }
  if (field.fieldKind === 'map') {
    const limits = rules.type.case === 'map' ? rules.type.value : undefined;
    return compact({
      type: 'object',
      description,
      propertyNames: limits?.keys && scalarSchema(field.mapKey, limits.keys),
      additionalProperties: singularSchema(field, limits?.values),
      maxProperties: limits && positive(limits.maxPairs),
    });
  }
  return compact({ description, ...singularSchema(field, rules) });
};

/** Does the service refuse a message in which this field is left out (and so has its zero value)? */
const isRequired = (field: DescField): boolean => {
  if (field.oneof) return false;
  const { required, type } = getOption(field, fieldRules);
  if (required) return true;
  switch (type.case) {
    case 'string':
      return type.value.minLen > 0n || (type.value.pattern !== '' && !new RegExp(type.value.pattern).test(''));
    case 'bytes':
      return type.value.minLen > 0n;
    case 'repeated':
      return type.value.minItems > 0n;
    default:
      return false;
  }
};

const oneofSchema = (oneof: DescOneof): Json | undefined =>
  getOption(oneof, oneofRules).required
    ? { oneOf: oneof.fields.map(({ jsonName }) => ({ required: [jsonName] })) }
    : undefined;

/** google.rpc.Status in JSON: its `details` are any messages, each with its type. */
const statusSchema: Json = {
  type: 'object',
  description: 'An error as gRPC has it (google.rpc.Status): what would have been the status of a call of its own.',
  properties: {
    code: { type: 'integer', minimum: 1, maximum: 16, description: 'A code of google.rpc.Code.' },
    message: { type: 'string', description: 'What is wrong and what to do.' },
    details: {
      type: 'array',
      description: 'google.rpc.ErrorInfo, RequestInfo, BadRequest and RetryInfo, named by `@type`.',
      items: {
        type: 'object',
        properties: { '@type': { type: 'string', pattern: '^type[.]googleapis[.]com/google[.]rpc[.]' } },
        required: ['@type'],
      },
    },
  },
  required: ['code', 'message', 'details'],
};

/** Messages of others whose schema is written here; what they hold is no part of the document. */
export const foreignSchemas: Readonly<Record<string, Json>> = { 'google.rpc.Status': statusSchema };

/**
 * The schema of a message. In a request unknown fields are refused and what must be there is `required`; a response always
 * has its scalar fields and may grow new ones.
 */
export const messageSchema = (message: DescMessage, isRequest: boolean): Json => {
  const foreign = foreignSchemas[message.typeName];
  if (foreign !== undefined) return foreign;
  const always = ({ fieldKind, oneof }: DescField): boolean => fieldKind !== 'message' && oneof === undefined;
  const required = message.fields.filter(isRequest ? isRequired : always).map(({ jsonName }) => jsonName);
  const oneofs = isRequest ? message.oneofs.map(oneofSchema).filter((each) => each !== undefined) : [];
  return compact({
    type: 'object',
    description: commentOf(message) || undefined,
    properties: Object.fromEntries(message.fields.map((field) => [field.jsonName, fieldSchema(field)])),
    required: required.length > 0 ? required : undefined,
    additionalProperties: isRequest ? false : undefined,
    ...(oneofs.length === 1 ? oneofs[0] : { allOf: oneofs.length > 1 ? oneofs : undefined }),
  });
};
