import { type DescMethod, getOption } from '@bufbuild/protobuf';
import { http } from '../gen/google/api/annotations_pb.ts';
import type { HttpRule } from '../gen/google/api/http_pb.ts';

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** One HTTP binding of a method, read from its google.api.http option. */
export type Route = {
  readonly httpMethod: HttpMethod;
  /** `/v1/keys/{key}`, as in the proto and in OpenAPI. */
  readonly template: string;
  /** Names of the request's fields that come from the path. */
  readonly pathFields: readonly string[];
  /** Is the whole request, but the path's fields, the body? Else they come from the query. */
  readonly hasBody: boolean;
};

const httpMethods = { get: 'GET', post: 'POST', put: 'PUT', patch: 'PATCH', delete: 'DELETE' } as const;

const variable = /\{([a-z_0-9]+)\}/g;

const routeOf = (method: DescMethod, rule: HttpRule): Route => {
  const { pattern, body, responseBody } = rule;
  const unsupported = (what: string): Error =>
    new Error(`${method.parent.typeName}.${method.name}: ${what} in google.api.http`);
  if (pattern.case === undefined || pattern.case === 'custom') throw unsupported('no standard HTTP method');
  if (responseBody !== '' || (body !== '' && body !== '*')) throw unsupported('a partial body');
  const template = pattern.value;
  const pathFields = [...template.matchAll(variable)].map(([, name]) => name ?? '');
  if (/[{}*]/.test(template.replaceAll(variable, ''))) throw unsupported(`the template ${template}`);
  for (const name of pathFields) {
    if (!method.input.fields.some((field) => field.name === name)) throw unsupported(`the unknown field ${name}`);
  }
  return { httpMethod: httpMethods[pattern.case], template, pathFields, hasBody: body === '*' };
};

/** Every binding of a method. Throws on a rule beyond what the edge can serve, so at start or in a test, never later. */
export const routesOf = (method: DescMethod): readonly Route[] => {
  const rule = getOption(method, http);
  return [rule, ...rule.additionalBindings].map((each) => routeOf(method, each));
};

/** The template as a fastify path: `/v1/keys/:key`; a literal colon (custom verb) doubled. */
export const fastifyPath = (template: string): string =>
  template
    .replaceAll(':', '::')
    .replaceAll(variable, (_, name: string) => `:${name}`)
    .replace(/:(\w+)::/g, ':$1(^[^/:]+)::');

/** Matches exactly the paths of a template, whatever the values. */
export const templateExpression = (template: string): RegExp =>
  new RegExp(`^${template.replaceAll(/[.+*?^$()[\]|\\]/g, '\\$&').replaceAll(variable, '[^/]+')}$`);
