import type { Context } from '../model/context.ts';

/** One outbound request. */
export type HttpRequest = {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Absolute; https, or http for a host that the configuration names as plain text. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Instead of `body`: `size` bytes, opened anew for each attempt. What opening or reading throws, the request rejects with. */
  readonly stream?: BodyStream;
  /** Given the body of a 200 piece by piece, the next when it has resolved; the answer's `body` is then empty. */
  readonly onData?: (chunk: Uint8Array) => Promise<void>;
  /** The most bytes of body that are read; more is an error (`unavailable`, reason `RESPONSE_TOO_LARGE`). */
  readonly maxBytes: number;
  /** Follow up to 5 redirects for GET and HEAD, never with credentials to another origin, never from https to http. Default: false. */
  readonly followRedirects?: boolean;
};

/** Content that is too large to be held. */
export type BodyStream = { readonly size: number; open(): AsyncIterable<Uint8Array> };

/** Header names are lower case; a header that came several times is joined with `, `. */
export type HttpResponse = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** The URL that answered, after redirects. */
  readonly url: string;
};

/**
 * The one outbound client. Resolves with any status; rejects with `unavailable` (refused, reset, TLS, DNS),
 * `deadline_exceeded`, `cancelled`, or `failed_precondition` with reason `EGRESS_DENIED`. Never retries by itself:
 * `net/retry.ts` does, where the caller asks for it. Safe to call concurrently.
 */
export interface HttpClient {
  request(request: HttpRequest, context: Context): Promise<HttpResponse>;
  close(): Promise<void>;
}
