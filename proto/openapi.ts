import {
  createFileRegistry,
  type DescEnum,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { errorTable } from '../src/api/errors.ts';
import { type Route, routesOf } from '../src/api/routes.ts';
import { commentOf, fieldSchema, foreignSchemas, type Json, messageSchema, schemaName } from './json-schema.ts';

const problemSchema: Json = {
  type: 'object',
  description: 'Problem details (RFC 9457). `code` and `reason` are for programs, `detail` for people.',
  properties: {
    type: { type: 'string', format: 'uri', description: 'Names the kind of problem: one for each `code`.' },
    title: { type: 'string' },
    status: { type: 'integer', minimum: 400, maximum: 599 },
    detail: { type: 'string', description: 'What is wrong and what to do.' },
    instance: { type: 'string', format: 'uri', description: 'Names this occurrence by its request id.' },
    code: { type: 'string', enum: Object.keys(errorTable) },
    reason: { type: 'string', pattern: '^[A-Z0-9_]+$', description: 'A stable word for programs.' },
    requestId: { type: 'string', description: 'As in the header `x-request-id`, in logs and traces.' },
    violations: {
      type: 'array',
      description: 'Every bad field, with its path and how to mend it.',
      items: {
        type: 'object',
        properties: { field: { type: 'string' }, description: { type: 'string' } },
        required: ['field', 'description'],
      },
    },
    metadata: { type: 'object', additionalProperties: { type: 'string' } },
    retryAfterSeconds: { type: 'integer', minimum: 0, description: 'Set when the same request may succeed later.' },
  },
  required: ['type', 'title', 'status', 'detail', 'instance', 'code', 'reason', 'requestId', 'violations', 'metadata'],
};

const requestIdHeader: Json = {
  description: 'Id of this request: the one that was sent, or a new one.',
  schema: { type: 'string', pattern: '^[A-Za-z0-9._-]{1,64}$' },
};

const requestHeaders: readonly Json[] = [
  {
    name: 'x-request-id',
    in: 'header',
    description: 'An id for this request; anything else than 1 to 64 of `A-Za-z0-9._-` is replaced by a new one.',
    schema: { type: 'string' },
  },
  {
    name: 'prefer',
    in: 'header',
    description: '`wait=<seconds>` (RFC 7240): the deadline, when it is shorter than that of the service.',
    schema: { type: 'string' },
    example: 'wait=10',
  },
];

const problemResponse = (description: string): Json => ({
  description,
  headers: {
    'x-request-id': { $ref: '#/components/headers/RequestId' },
    'retry-after': { description: 'Seconds; with a failure that may pass.', schema: { type: 'integer' } },
  },
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
});

/** One response for each HTTP status of the error table, with the codes that it stands for. */
const errorResponses = (): Record<string, Json> => {
  const codes = new Map<number, string[]>();
  for (const [code, { http, title }] of Object.entries(errorTable)) {
    codes.set(http, [...(codes.get(http) ?? []), `${title} (\`${code}\`).`]);
  }
  return Object.fromEntries([...codes].map(([http, texts]) => [`${http}`, problemResponse(texts.join(' '))]));
};

const operation = (method: DescMethod, route: Route): Json => {
  const description = commentOf(method);
  const pathParameters = route.pathFields.map((name) => {
    const field = method.input.fields.find((each) => each.name === name);
    if (field === undefined) throw new Error(`${method.name} has no field ${name}`);
    const { description: said, ...schema } = fieldSchema(field);
    return { name, in: 'path', required: true, description: said, schema };
  });
  const failures = Object.keys(errorResponses()).map((status) => [
    status,
    { $ref: `#/components/responses/${status}` },
  ]);
  return {
    operationId: method.name,
    tags: [method.parent.name],
    summary: /^.*?[.](?=\s|$)/s.exec(description)?.[0] ?? description,
    description,
    parameters: [...pathParameters, ...requestHeaders],
    ...(route.hasBody ? { requestBody: { required: true, content: jsonOf(method.input) } } : {}),
    responses: {
      200: {
        description: commentOf(method.output),
        headers: { 'x-request-id': { $ref: '#/components/headers/RequestId' } },
        content: jsonOf(method.output, method.methodKind === 'server_streaming'),
      },
      ...Object.fromEntries(failures),
      default: { $ref: '#/components/responses/default' },
    },
  };
};

/** A stream is one message a line. */
const jsonOf = (message: DescMessage, isStream = false): Json => ({
  [isStream ? 'application/x-ndjson' : 'application/json']: {
    schema: { $ref: `#/components/schemas/${schemaName(message)}` },
  },
});

/** Every message and enum that a message holds, itself included. */
const reach = (message: DescMessage, found = new Set<DescMessage | DescEnum>()): Set<DescMessage | DescEnum> => {
  if (found.has(message)) return found;
  found.add(message);
  if (foreignSchemas[message.typeName] !== undefined) return found;
  for (const field of message.fields) {
    if (field.message) reach(field.message, found);
    if (field.enum) found.add(field.enum);
  }
  return found;
};

const enumSchema = (schema: DescEnum): Json => ({
  type: 'string',
  description: [commentOf(schema), ...schema.values.map((value) => `- \`${value.name}\`: ${commentOf(value)}`)].join(
    '\n',
  ),
  enum: schema.values.map(({ name }) => name),
});

const schemasOf = (methods: readonly DescMethod[]): Record<string, Json> => {
  const withBody = methods.filter((method) => routesOf(method).some(({ hasBody }) => hasBody));
  const inputs = new Set(withBody.flatMap(({ input }) => [...reach(input)]));
  const all = new Set([...inputs, ...methods.flatMap(({ output }) => [...reach(output)])]);
  const named = [...all].map((desc): [string, Json] => [
    schemaName(desc),
    desc.kind === 'enum' ? enumSchema(desc) : messageSchema(desc, inputs.has(desc)),
  ]);
  return Object.fromEntries(named.sort(([a], [b]) => (a < b ? -1 : 1)));
};

/**
 * The OpenAPI 3.1 document of the contract. `image`: a FileDescriptorSet with source info, as `buf build` writes it;
 * services of package `countersign.v1` are shown. Deterministic.
 */
export const openApi = (image: Uint8Array): Json => {
  const files = [...createFileRegistry(fromBinary(FileDescriptorSetSchema, image)).files]
    .filter(({ proto }) => proto.package === 'countersign.v1')
    .sort((a, b) => (a.proto.name < b.proto.name ? -1 : 1));
  const services: DescService[] = files.flatMap((file) => file.services);
  const methods = services.flatMap((service) => service.methods);
  const paths: Record<string, Record<string, Json>> = {};
  for (const method of methods) {
    for (const route of routesOf(method)) {
      const path = paths[route.template] ?? {};
      path[route.httpMethod.toLowerCase()] = operation(method, route);
      paths[route.template] = path;
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'countersign',
      version: 'v1',
      summary: 'cosign as a service: sign, attest and verify, with policy at the moment of signing.',
      description:
        'The same contract as gRPC package `countersign.v1`. JSON as in the proto3 JSON mapping; `bytes` are base64.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    tags: services.map((service) => ({ name: service.name, description: commentOf(service) })),
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'An OIDC token of a configured issuer.',
        },
      },
      headers: { RequestId: requestIdHeader },
      responses: { ...errorResponses(), default: problemResponse('Any other failure.') },
      schemas: { ...schemasOf(methods), Problem: problemSchema },
    },
  };
};
