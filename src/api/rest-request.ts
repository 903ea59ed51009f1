import type { DescMessage, Message } from '@bufbuild/protobuf';
import { isJsonObject, type JsonObject, type JsonValue, parseStrictJson } from '../codec/strict-json.ts';
import { type FieldViolation, invalidArgument } from '../model/error.ts';
import { readJson } from './read.ts';
import type { Route } from './routes.ts';

const decodePart = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
};

/** `a=1&b=2` -> the fields of a request without body; each at most once, and none that the path names already. */
const readQuery = (query: string, schema: DescMessage, route: Route): JsonObject => {
  const values: JsonObject = {};
  const violations: FieldViolation[] = [];
  const allowed = schema.fields.filter(
    ({ name, fieldKind }) => fieldKind === 'scalar' && !route.pathFields.includes(name),
  );
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const [rawName = '', ...rest] = pair.split('=');
    const name = decodePart(rawName);
    const value = decodePart(rest.join('='));
    const field = allowed.find((each) => each.name === name || each.jsonName === name);
    const shown = name !== undefined && /^\w{1,64}$/.test(name) ? name : 'query';
    if (route.hasBody || field === undefined) {
      violations.push({ field: shown, description: 'is not a query parameter of this method; leave it out' });
    } else if (value === undefined) {
      violations.push({ field: field.name, description: 'must be percent-encoded UTF-8' });
    } else if (Object.hasOwn(values, field.name)) {
      violations.push({ field: field.name, description: 'must not stand twice in the query' });
    } else {
      values[field.name] = value;
    }
  }
  if (violations.length > 0) throw invalidArgument(violations);
  return values;
};

const readBody = (body: Uint8Array | undefined, maxBytes: number): JsonValue => {
  if (body === undefined) {
    throw invalidArgument([
      { field: '', description: 'a body is required: a JSON object with content-type application/json' },
    ]);
  }
  return parseStrictJson(body, { maxBytes, rejectUnsafeIntegers: true });
};

/** What an HTTP request holds of a message. */
export type RestParts = {
  readonly path: Readonly<Record<string, string>>;
  /** Without the question mark. */
  readonly query: string;
  readonly body: Uint8Array | undefined;
};

/**
 * Path, query and JSON body -> message. Throws `invalid_argument` that names every bad field, or reason `MALFORMED_JSON`
 * (bad UTF-8, duplicate keys, integers beyond 2^53, depth over 64).
 */
export const readRest = (schema: DescMessage, route: Route, parts: RestParts, maxBytes: number): Message =>
  readJson(schema, readRestJson(schema, route, parts, maxBytes));

/** As `readRest`, up to the JSON of the whole message: its fields have not been looked at. */
export const readRestJson = (schema: DescMessage, route: Route, parts: RestParts, maxBytes: number): JsonValue => {
  const query = readQuery(parts.query, schema, route);
  const value = route.hasBody ? readBody(parts.body, maxBytes) : query;
  if (route.pathFields.length === 0 || !isJsonObject(value)) return value;
  const doubled = schema.fields.filter(
    ({ name, jsonName }) =>
      route.pathFields.includes(name) && (Object.hasOwn(value, name) || Object.hasOwn(value, jsonName)),
  );
  if (doubled.length > 0) {
    throw invalidArgument(
      doubled.map(({ name }) => ({ field: name, description: 'stands in the path; leave it out here' })),
    );
  }
  return { ...value, ...parts.path };
};
