import { type DescField, type DescMessage, getOption, ScalarType } from '@bufbuild/protobuf';
import { type FieldRules, field as fieldRules } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';
import { isJsonObject, type JsonObject, type JsonValue } from '../../src/codec/strict-json.ts';

/** One way to spoil a request: the JSON that results, and the path that the error must name. */
export type Spoiled = {
  readonly what: string;
  readonly field: string;
  readonly json: JsonObject;
  /** Can protobuf bytes carry it, or only JSON (a wrong type)? */
  readonly binary: boolean;
};

type Value = JsonValue | undefined;
type Put = (value: Value) => JsonObject;

const put = (object: JsonObject, key: string, value: Value): JsonObject => {
  const copy = { ...object };
  if (value === undefined) delete copy[key];
  else copy[key] = value;
  return copy;
};

const wrongTypes: readonly JsonValue[] = [5, true, 'text', {}, []];

const fits = (field: DescField, value: JsonValue, single: boolean): boolean => {
  if (!single && field.fieldKind === 'list') return Array.isArray(value);
  if (field.message || (!single && field.fieldKind === 'map')) return isJsonObject(value);
  // Any number can be an enum; validation refuses it then, so it is bad as well, but binary.
  if (field.enum) return false;
  if (field.scalar === ScalarType.BOOL) return typeof value === 'boolean';
  // 'text' is base64 as well.
  return typeof value === 'string';
};

const spoilText = function* (rules: FieldRules | undefined, field: string, set: Put): Generator<Spoiled> {
  if (rules?.type.case !== 'string') return;
  const { minLen, maxLen, pattern } = rules.type.value;
  const refuses = (text: string): boolean =>
    BigInt(text.length) < minLen || (pattern !== '' && !new RegExp(pattern).test(text));
  const long = 'a'.repeat(maxLen > 0n ? Number(maxLen) + 1 : 5000);
  yield { what: 'too long', field, json: set(long), binary: true };
  if (refuses('')) yield { what: 'empty', field, json: set(''), binary: true };
  for (const character of ['\u0000', '\n', '\u001b', '\u007f']) {
    const text = `a${character}b`;
    if (refuses(text))
      yield { what: `control character ${JSON.stringify(character)}`, field, json: set(text), binary: true };
  }
};

const spoilBytes = function* (rules: FieldRules | undefined, field: string, set: Put): Generator<Spoiled> {
  yield { what: 'not base64', field, json: set('###'), binary: false };
  if (rules?.type.case !== 'bytes') return;
  const { minLen, maxLen } = rules.type.value;
  if (minLen > 0n) yield { what: 'empty', field, json: set(''), binary: true };
  // By a whole base64 group: JSON Schema only sees the length of the text.
  const long = Buffer.alloc(Number(maxLen) + 3).toString('base64');
  yield { what: 'too long', field, json: set(long), binary: true };
};

const spoilSingle = function* (
  desc: DescField,
  rules: FieldRules | undefined,
  value: JsonValue,
  field: string,
  set: Put,
): Generator<Spoiled> {
  for (const wrong of wrongTypes) {
    if (fits(desc, wrong, true)) continue;
    yield {
      what: `wrong type ${JSON.stringify(wrong)}`,
      field,
      json: set(wrong),
      binary: typeof wrong === 'number' && desc.enum !== undefined,
    };
  }
  if (desc.message && isJsonObject(value)) {
    yield* spoilMessage(desc.message, value, field, set);
    return;
  }
  if (desc.enum) {
    yield { what: 'unknown name', field, json: set('NO_SUCH_VALUE'), binary: false };
    yield { what: 'unknown number', field, json: set(99), binary: true };
  } else if (desc.scalar === ScalarType.BYTES) yield* spoilBytes(rules, field, set);
  else yield* spoilText(rules, field, set);
};

const spoilList = function* (
  desc: DescField,
  rules: FieldRules,
  value: JsonValue[],
  field: string,
  set: Put,
): Generator<Spoiled> {
  const limits = rules.type.case === 'repeated' ? rules.type.value : undefined;
  const first = value[0];
  if (limits === undefined || first === undefined) throw new Error(`${field} has no limits or no sample`);
  const beyond = Number(limits.maxItems) + 1;
  yield { what: 'too many', field, json: set(Array.from({ length: beyond }, () => first)), binary: true };
  yield { what: 'null inside', field: `${field}[1]`, json: set([first, null]), binary: false };
  if (limits.unique) yield { what: 'the same twice', field, json: set([first, first]), binary: true };
  for (const [index, item] of value.entries()) {
    const setItem: Put = (next) => set(value.map((each, at) => (at === index ? (next ?? {}) : each)));
    yield* spoilSingle(desc, limits.items, item, `${field}[${index}]`, setItem);
  }
};

const spoilMap = function* (desc: DescField, rules: FieldRules, field: string, set: Put): Generator<Spoiled> {
  const limits = rules.type.case === 'map' ? rules.type.value : undefined;
  if (limits === undefined) throw new Error(`${field} has no limits`);
  const many = Object.fromEntries(Array.from({ length: Number(limits.maxPairs) + 1 }, (_, at) => [`k${at}`, 'v']));
  yield { what: 'too many', field, json: set(many), binary: true };
  yield* spoilSingle(desc, limits.values, 'v', `${field}["k"]`, (next) => set({ k: next ?? '' }));
  const keys = spoilText(limits.keys, '', (next) => ({ key: next ?? '' }));
  for (const { what, json } of keys) {
    const key = String(json['key']);
    yield { what: `key ${what}`, field: `${field}[${JSON.stringify(key)}]`, json: set({ [key]: 'v' }), binary: true };
  }
};

const isRequired = (desc: DescField, rules: FieldRules): boolean => {
  if (rules.required) return true;
  if (rules.type.case === 'repeated') return rules.type.value.minItems > 0n;
  if (rules.type.case === 'bytes') return rules.type.value.minLen > 0n;
  if (rules.type.case !== 'string' || desc.oneof) return false;
  const { minLen, pattern } = rules.type.value;
  return minLen > 0n || (pattern !== '' && !new RegExp(pattern).test(''));
};

/** Every way to spoil each field that a sample has, from the descriptors and their rules. */
export const spoilMessage = function* (
  schema: DescMessage,
  sample: JsonObject,
  path = '',
  set: (value: JsonObject) => JsonObject = (value) => value,
): Generator<Spoiled> {
  const join = (name: string): string => (path === '' ? name : `${path}.${name}`);
  yield {
    what: 'unknown field',
    field: join('no_such_field'),
    json: set({ ...sample, no_such_field: 1 }),
    binary: false,
  };
  for (const desc of schema.fields) {
    const value = sample[desc.jsonName];
    if (value === undefined || value === null) continue;
    const rules = getOption(desc, fieldRules);
    const field = join(desc.name);
    const setField: Put = (next) => set(put(sample, desc.jsonName, next));
    if (desc.oneof) {
      yield { what: 'no member of the oneof', field: join(desc.oneof.name), json: setField(undefined), binary: true };
    } else if (isRequired(desc, rules)) yield { what: 'missing', field, json: setField(undefined), binary: true };
    if (desc.fieldKind === 'list' && Array.isArray(value)) {
      for (const wrong of wrongTypes) {
        if (!Array.isArray(wrong))
          yield { what: `wrong type ${JSON.stringify(wrong)}`, field, json: setField(wrong), binary: false };
      }
      yield* spoilList(desc, rules, value, field, setField);
    } else if (desc.fieldKind === 'map') {
      for (const wrong of wrongTypes) {
        if (!isJsonObject(wrong))
          yield { what: `wrong type ${JSON.stringify(wrong)}`, field, json: setField(wrong), binary: false };
      }
      yield* spoilMap(desc, rules, field, setField);
    } else yield* spoilSingle(desc, rules, value, field, setField);
  }
};
