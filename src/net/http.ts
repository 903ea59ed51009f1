import { Readable } from 'node:stream';
import { createSecureContext, type SecureContext } from 'node:tls';
import { Agent, type Dispatcher, Pool } from 'undici';
import type { Context } from '../model/context.ts';
import { assertLive, deadlineExceeded } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import { assertAllowed, type EgressPolicy, mayRedirect } from './egress.ts';
import { responseTooLarge, toNetworkError } from './errors.ts';
import { judgedLookup, type Resolver, systemResolver } from './lookup.ts';
import type { HttpClient, HttpRequest, HttpResponse } from './port.ts';
import { type TlsMaterial, withSystemRoots } from './tls.ts';

export type HttpClientOptions = EgressPolicy & {
  /** PEM certificates that are trusted besides the system's. */
  readonly ca?: readonly string[];
  /** What this client shows to servers that ask for a certificate: PEM. */
  readonly clientCertificate?: Pick<TlsMaterial, 'cert' | 'key'>;
  /** Connections kept per origin; more requests wait for one. Default: 32. */
  readonly connectionsPerHost?: number;
  /** Milliseconds for TCP and TLS. Default: 5,000. */
  readonly connectTimeoutMs?: number;
  /** Milliseconds from the request to the response's headers, and between two pieces of body. Default: 30,000. */
  readonly headersTimeoutMs?: number;
  /** Headers added to every request, asked anew each time: telemetry puts `traceparent` here. */
  readonly headers?: () => Readonly<Record<string, string>>;
  /** How host names become addresses, once for each new connection. Default: as the system does. */
  readonly resolve?: Resolver;
};

const maxRedirects = 5;
const redirectStatus = new Set([301, 302, 303, 307, 308]);
const secretHeaders = new Set(['authorization', 'cookie', 'proxy-authorization']);

/**
 * The outbound client of the port, on one undici agent: keep-alive, no pipelining, no decompression (an encoded body is
 * `unavailable`, reason `RESPONSE_ENCODED`). Every URL passes `assertAllowed`, redirects included, and every address that a
 * name resolves to passes `assertAddressAllowed` before it is connected to; TLS is verified against the name.
 */
export const createHttpClient = (options: HttpClientOptions): HttpClient => {
  const timeout = options.headersTimeoutMs ?? 30_000;
  const connect = {
    timeout: options.connectTimeoutMs ?? 5_000,
  };
  // Reading a hundred roots takes many milliseconds: once for a client, not for each connection, and never for plain http.
  let secureContext: SecureContext | undefined;
  const tls = (url: URL): { readonly secureContext?: SecureContext } => {
    const { ca = [], clientCertificate } = options;
    if (url.protocol !== 'https:' || (ca.length === 0 && clientCertificate === undefined)) return {};
    secureContext ??= createSecureContext({
      ...(ca.length === 0 ? {} : { ca: withSystemRoots(ca) }),
      ...(clientCertificate === undefined ? {} : { cert: clientCertificate.cert, key: clientCertificate.key }),
    });
    return { secureContext };
  };
  const resolve = options.resolve ?? systemResolver;
  const agent = new Agent({
    connections: options.connectionsPerHost ?? 32,
    pipelining: 1,
    allowH2: false,
    headersTimeout: timeout,
    bodyTimeout: timeout,
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 60_000,
    maxHeaderSize: 32 * 1024,
    factory: (origin, settings) => {
      const url = new URL(origin);
      return new Pool(origin, {
        ...settings,
        connect: { ...connect, ...tls(url), lookup: judgedLookup(url, options, resolve) },
      });
    },
  });

  const request = async (asked: HttpRequest, context: Context): Promise<HttpResponse> => {
    let url = parseUrl(asked.url);
    let headers: Readonly<Record<string, string>> = { ...options.headers?.(), ...asked.headers };
    for (let hop = 0; ; hop++) {
      assertAllowed(url, options);
      assertLive(context);
      const response = await dispatch(agent, url, { ...asked, headers }, context);
      const location = response.headers.location;
      const redirected = asked.followRedirects === true && redirectStatus.has(response.status);
      if (!redirected || location === undefined) return response;
      if (asked.method !== 'GET' && asked.method !== 'HEAD') return response;
      if (hop === maxRedirects) throw refusedRedirect(url, `more than ${maxRedirects} redirects`);
      const next = parseLocation(location, url);
      if (url.protocol === 'https:' && next.protocol !== 'https:') {
        throw refusedRedirect(url, `a redirect from https to ${next.protocol.slice(0, -1)}`);
      }
      if (!mayRedirect(url, next)) throw refusedRedirect(url, 'a redirect to a loopback address');
      if (next.origin !== url.origin) headers = withoutSecrets(headers);
      url = next;
    }
  };

  return { request, close: () => agent.destroy() };
};

const dispatch = (agent: Agent, url: URL, asked: HttpRequest, context: Context): Promise<HttpResponse> =>
  new Promise((resolve, reject) => {
    let controller: Dispatcher.DispatchController | undefined;
    let status = 0;
    let headers: Record<string, string> = {};
    let received = 0;
    let settled = false;
    const chunks: Buffer[] = [];
    let taken: Promise<void> = Promise.resolve();

    const settle = (): boolean => {
      if (settled) return false;
      settled = true;
      context.signal.removeEventListener('abort', onAbort);
      return true;
    };
    const fail = (error: unknown): void => {
      if (!settle()) return;
      reject(toNetworkError(error, url.host));
      controller?.abort(error instanceof Error ? error : new Error('aborted'));
    };
    const onAbort = (): void => {
      const { reason } = context.signal;
      const late = reason instanceof CountersignError && reason.code === 'deadline_exceeded';
      fail(late ? deadlineExceeded(url.host) : reason);
    };
    context.signal.addEventListener('abort', onAbort, { once: true });

    const limit = (size: number): void => {
      if (size > asked.maxBytes) fail(responseTooLarge(url.host, asked.maxBytes));
    };
    const origin = url.origin;
    const path = `${url.pathname}${url.search}`;
    try {
      agent.dispatch(
        {
          origin,
          path,
          method: asked.method,
          headers: {
            'accept-encoding': 'identity',
            'user-agent': 'countersign',
            ...(asked.stream === undefined ? {} : { 'content-length': String(asked.stream.size) }),
            ...asked.headers,
          },
          body:
            asked.stream === undefined
              ? (asked.body ?? null)
              : Readable.from(asked.stream.open(), { objectMode: false }),
          // Otherwise undici ends the connection after each HEAD, for servers that send a body with it: bytes that nobody has
          // asked for end it anyway. Every image that is signed is asked for by HEAD.
          reset: false,
        },
        {
          onRequestStart(started) {
            controller = started;
            // The caller may have gone while this request waited for a connection.
            if (settled) started.abort(new Error('aborted'));
          },
          onResponseStart(_, statusCode, responseHeaders) {
            if (statusCode < 200) return;
            status = statusCode;
            headers = joinHeaders(responseHeaders);
            if (asked.method === 'HEAD') return;
            const encoding = headers['content-encoding'];
            if (encoding !== undefined && encoding.toLowerCase() !== 'identity') fail(encoded(url.host, encoding));
            limit(Number(headers['content-length'] ?? 0));
          },
          onResponseData(started, chunk) {
            received += chunk.byteLength;
            limit(received);
            if (settled) return;
            if (asked.onData === undefined || status !== 200) {
              chunks.push(chunk);
              return;
            }
            if (chunk.byteLength === 0) return;
            started.pause();
            // Not from a microtask: the parser, resumed there, comes back with the next piece before any timer or socket has its turn.
            taken = asked.onData(chunk).then(() => void setImmediate(() => started.resume()), fail);
          },
          onResponseEnd() {
            void taken.then(() => {
              if (settle()) resolve({ status, headers, body: Buffer.concat(chunks), url: url.href });
            });
          },
          onResponseError(_, error) {
            fail(error);
          },
        },
      );
    } catch (error) {
      fail(error);
    }
  });

const joinHeaders = (raw: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> => {
  const joined: Record<string, string> = Object.create(null);
  for (const [name, value] of Object.entries(raw)) {
    if (value !== undefined) joined[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : value;
  }
  return joined;
};

const withoutSecrets = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !secretHeaders.has(name.toLowerCase())));

const parseUrl = (text: string): URL => {
  const url = URL.parse(text);
  if (url === null) {
    throw new CountersignError(
      'failed_precondition',
      'EGRESS_DENIED',
      'A request was made to something that is no URL.',
    );
  }
  return url;
};

const parseLocation = (location: string, base: URL): URL => {
  const url = URL.parse(location, base.href);
  if (url === null) throw refusedRedirect(base, 'a redirect to something that is no URL');
  return url;
};

const refusedRedirect = (from: URL, what: string): CountersignError =>
  new CountersignError('failed_precondition', 'EGRESS_DENIED', `${from.host} answered with ${what}; not followed.`, {
    metadata: { host: from.host },
  });

const encoded = (host: string, encoding: string): CountersignError =>
  new CountersignError(
    'unavailable',
    'RESPONSE_ENCODED',
    `${host} answered with content-encoding ${encoding.slice(0, 40)} although none was asked for.`,
    { metadata: { host } },
  );
