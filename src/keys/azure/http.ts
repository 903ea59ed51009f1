import type { KeyClientOptions } from '@azure/keyvault-keys';
import { openContext } from '../../model/context.ts';
import type { HttpClient, HttpRequest, HttpResponse } from '../../net/port.ts';

/** The transport that the clients of the SDK can be given, and what it takes and answers. */
export type SdkTransport = NonNullable<KeyClientOptions['httpClient']>;
type SdkRequest = Parameters<SdkTransport['sendRequest']>[0];
type SdkResponse = Awaited<ReturnType<SdkTransport['sendRequest']>>;
type SdkHeaders = SdkResponse['headers'];

/** The longest that one request may take, whatever the deadline. */
const requestMs = 10_000;
/** A page of 25 versions takes 10 KiB, an attestation some more. */
const maxAnswerBytes = 1024 * 1024;

const methods: ReadonlySet<string> = new Set<HttpRequest['method']>(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);
const isMethod = (method: string): method is HttpRequest['method'] => methods.has(method);

const sdkHeaders = (headers: Readonly<Record<string, string>>): SdkHeaders => {
  const map = new Map(Object.entries(headers));
  return {
    get: (name) => map.get(name.toLowerCase()),
    has: (name) => map.has(name.toLowerCase()),
    set: (name, value) => void map.set(name.toLowerCase(), String(value)),
    delete: (name) => void map.delete(name.toLowerCase()),
    toJSON: () => Object.fromEntries(map),
    [Symbol.iterator]: () => map.entries(),
  };
};

const toRequest = ({ method, url, headers, body }: SdkRequest): HttpRequest => {
  if (!isMethod(method)) throw new TypeError(`${method} is not sent`);
  const isText = typeof body === 'string';
  if (!isText && body !== null && body !== undefined && !(body instanceof Uint8Array)) {
    throw new TypeError('only text and bytes are sent');
  }
  const bytes = isText ? Buffer.from(body) : body;
  return {
    method,
    url,
    // The SDK would take gzip, whose size nobody bounds.
    headers: { ...headers.toJSON(), 'accept-encoding': 'identity' },
    ...(bytes === null || bytes === undefined ? {} : { body: bytes }),
    maxBytes: maxAnswerBytes,
  };
};

/**
 * The SDK's requests through the outbound client: its egress policy, bounds, TLS, and no proxies of the environment.
 * `inspect` sees each answer before the SDK does; what it throws passes through the SDK as it is. A request that takes too
 * long by itself fails with `deadline_exceeded`; one whose signal ends, with the signal's reason.
 */
export const azureTransport = (http: HttpClient, inspect: (response: HttpResponse) => void): SdkTransport => ({
  sendRequest: async (request) => {
    const owned = openContext(request.requestId, requestMs);
    const { abortSignal } = request;
    const signal =
      abortSignal instanceof AbortSignal ? AbortSignal.any([abortSignal, owned.context.signal]) : owned.context.signal;
    try {
      const response = await http.request(toRequest(request), { ...owned.context, signal });
      inspect(response);
      const bodyAsText = new TextDecoder().decode(response.body);
      return { request, status: response.status, headers: sdkHeaders(response.headers), bodyAsText };
    } finally {
      owned.dispose();
    }
  },
});
