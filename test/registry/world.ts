import { request } from 'undici';
import { type Context, openContext } from '../../src/model/context.ts';
import type { Digest } from '../../src/model/digest.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { Sealed } from '../../src/model/signature.ts';
import type { ResolvedImage } from '../../src/model/subject.ts';
import { createHttpClient } from '../../src/net/http.ts';
import type { Credential } from '../../src/registry/credentials/source.ts';
import type { Registry } from '../../src/registry/port.ts';
import { parseReference } from '../../src/registry/reference.ts';
import { createRegistry, type RegistryOptions } from '../../src/registry/registry.ts';

/** A registry client for whatever runs on 127.0.0.1; credentials for exactly one host. */
export const clientFor = (
  host: string,
  credential?: Credential,
  tries = 3,
  more: Partial<Pick<RegistryOptions, 'destinations' | 'settleMs' | 'lease'>> = {},
): Registry => {
  const plainHttpHosts = ['127.0.0.1'];
  return createRegistry({
    http: createHttpClient({ plainHttpHosts, headersTimeoutMs: 5_000 }),
    credentials: (asked) => (asked === host ? credential : undefined),
    plainHttpHosts,
    tries,
    settleMs: 50,
    ...more,
  });
};

export const within = (ms: number): Context => openContext('test', ms).context;

export const resolve = (registry: Registry, reference: string, context = within(5_000)): Promise<ResolvedImage> =>
  registry.resolve(parseReference(reference), context);

/** A signature for the `.sig` tag; nothing in here is verified by the registry room. */
export const layer = (name: string, suffix: 'sig' | 'att' = 'sig'): Sealed => ({
  format: suffix === 'sig' ? 'simple-signing' : 'dsse',
  mediaType:
    suffix === 'sig' ? 'application/vnd.dev.cosign.simplesigning.v1+json' : 'application/vnd.dsse.envelope.v1+json',
  content: Buffer.from(JSON.stringify({ payload: name })),
  signature: Buffer.from(name),
  attachment: { by: 'tag', suffix, annotations: { 'dev.cosignproject.cosign/signature': name } },
});

export const bundle = (name: string): Sealed => ({
  format: 'bundle',
  mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
  content: Buffer.from(JSON.stringify({ bundle: name })),
  signature: Buffer.from(name),
  attachment: {
    by: 'referrer',
    artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    annotations: { 'dev.sigstore.bundle.content': 'dsse-envelope' },
  },
});

export const isError = (code: string, reason?: string) => (error: unknown) => {
  if (!(error instanceof CountersignError)) throw error;
  if (error.code !== code || (reason !== undefined && error.reason !== reason)) {
    throw new Error(`wanted ${code} ${reason ?? ''}, got ${error.code} ${error.reason}: ${error.message}`);
  }
  return true;
};

export const tagOf = (digest: Digest, suffix = ''): string => `sha256-${digest.slice(7)}${suffix}`;

/** GET of JSON, past the room under test. */
export const fetchJson = async (url: string): Promise<Record<string, never>> => {
  const accept = 'application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json';
  const { statusCode, body } = await request(url, { headers: { accept } });
  if (statusCode !== 200) throw new Error(`${url} answered ${statusCode}`);
  return (await body.json()) as Record<string, never>;
};
