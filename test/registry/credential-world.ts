// What the tests of credentials share.
import { inspect } from 'node:util';
import { toCountersignError } from '../../src/model/error.ts';
import type { HttpClient, HttpRequest, HttpResponse } from '../../src/net/port.ts';
import type { AmbientIdentities, Credential } from '../../src/registry/credentials/source.ts';
import { type CredentialDeps, type LoadedCredentials, loadCredentials } from '../../src/registry/credentials.ts';
import { registrySettings } from '../../src/registry/settings.ts';
import { within } from './world.ts';

/** A client that nothing may be asked of. */
export const silentHttp: HttpClient = {
  request: async ({ url }) => {
    throw new Error(`nothing may be asked, and ${url} was`);
  },
  close: async () => {},
};

const nobody = async (): Promise<never> => {
  throw new Error('no identity may be asked');
};
export const noIdentities: AmbientIdentities = { aws: nobody, azure: nobody, google: nobody };

export type Loaded = LoadedCredentials & {
  /** The credential for a host, within some seconds. */
  at(host: string): Promise<Credential | undefined>;
  readonly warnings: unknown[];
};

/** Credentials of a `registry` section. */
export const load = async (section: object, deps: Partial<CredentialDeps> = {}): Promise<Loaded> => {
  const warnings: unknown[] = [];
  const loaded = await loadCredentials(registrySettings.parse(section), {
    http: silentHttp,
    identities: noIdentities,
    environment: {},
    warn: (problem) => warnings.push(problem),
    ...deps,
  });
  return { ...loaded, warnings, at: async (host) => loaded.credentials(host, within(30_000)) };
};

/** All that a log, a span or a caller could see of something, causes and hidden fields included. */
export const inspected = (value: unknown): string =>
  [
    inspect(value, { depth: 20, showHidden: true, maxStringLength: null, maxArrayLength: null }),
    value instanceof Error ? `${value.stack} ${JSON.stringify(toCountersignError(value))}` : '',
  ].join('\n');

/** Tries again until it does not throw. */
export const eventually = async (check: () => Promise<void> | void): Promise<void> => {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((done) => setTimeout(done, 50));
    }
  }
};

/** An outbound client of which a function answers, by URL; remembers every request. */
export const scriptedHttp = (
  answer: (request: HttpRequest) => Promise<Partial<HttpResponse>> | Partial<HttpResponse>,
): HttpClient & { readonly asked: HttpRequest[] } => {
  const asked: HttpRequest[] = [];
  return {
    asked,
    request: async (request) => {
      asked.push(request);
      return { status: 200, headers: {}, body: Buffer.alloc(0), url: request.url, ...(await answer(request)) };
    },
    close: async () => {},
  };
};

export const json = (value: unknown): { readonly body: Buffer } => ({ body: Buffer.from(JSON.stringify(value)) });

export const ecrHost = '111122223333.dkr.ecr.eu-central-1.amazonaws.com';

/** API reference of ECR, GetAuthorizationToken: a list in the private API, one in the public one; times in seconds. */
export const ecrAnswer = (password: string, seconds = 43_200, wrap: (data: object) => unknown = (data) => [data]) =>
  json({
    authorizationData: wrap({
      authorizationToken: Buffer.from(`AWS:${password}`).toString('base64'),
      expiresAt: Date.now() / 1000 + seconds,
      proxyEndpoint: `https://${ecrHost}`,
    }),
  });
