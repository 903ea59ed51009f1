import { KeyManagementServiceClient } from '@google-cloud/kms';
import { credentials as channel } from '@grpc/grpc-js';
import { type Context, remainingMs } from '../../model/context.ts';
import { waitFor } from '../../model/wait.ts';
import { assertAllowed } from '../../net/egress.ts';
import { withRetry } from '../../net/retry.ts';
import { withSystemRoots } from '../../net/tls.ts';
import { createGcpCredentials, type GcpIdentity } from './credentials.ts';
import { gcpError, isUnauthenticated } from './errors.ts';
import { gcpLoopbackHosts } from './settings.ts';

/** How one Cloud KMS is reached, and as whom. */
export type GcpConnection = GcpIdentity & {
  readonly endpoint: string | undefined;
  /** PEM. */
  readonly ca: string | undefined;
};

/** What AsymmetricSign is asked; `crc` is the CRC-32C of the digest or data. */
export type GcpSignRequest = { readonly name: string; readonly crc: number } & (
  | { readonly digest: Readonly<Record<string, Uint8Array>> }
  | { readonly data: Uint8Array }
);

/** Cloud KMS as far as keys need it. Answers are parsed, unchecked. Safe to call concurrently. */
export type GcpClient = {
  /** `Google Cloud KMS (<host>)`, for messages. */
  readonly kms: string;
  /** One page of ListCryptoKeyVersions, without attestations. Errors as `gcpError`; transient ones are tried up to three times. */
  listVersions(parent: string, pageToken: string, context: Context): Promise<unknown>;
  /** GetCryptoKeyVersion, GetPublicKey: errors and retries as `listVersions`. */
  getVersion(name: string, context: Context): Promise<unknown>;
  getPublicKey(name: string, context: Context): Promise<unknown>;
  /** AsymmetricSign: one attempt, and one more with other credentials when these are refused. Errors as `gcpError`. */
  sign(request: GcpSignRequest, context: Context): Promise<unknown>;
  close(): Promise<void>;
};

const defaultEndpoint = 'https://cloudkms.googleapis.com';
/** The longest that one try may take, whatever the deadline. */
const requestMs = 10_000;
/** A page of versions takes less than 100 KiB, an attestation with its certificates less than 50. */
const maxAnswerBytes = 1024 * 1024;
const pageSize = 100;

const open = (url: URL, ca: string | undefined): KeyManagementServiceClient => {
  const plain = url.protocol === 'http:';
  return new KeyManagementServiceClient({
    apiEndpoint: url.hostname,
    port: url.port === '' ? (plain ? 80 : 443) : Number(url.port),
    // Tokens travel as a header of each call (credentials.ts), so that a refused one is told apart and renewed.
    sslCreds: plain
      ? channel.createInsecure()
      : channel.createSsl(ca === undefined ? null : Buffer.from(withSystemRoots([ca]).join('\n'))),
    // Told, so that the SDK looks for no credentials to learn them.
    universeDomain: 'googleapis.com',
    projectId: 'unused',
    fallback: false,
    enableTelemetryLogging: false,
    enableTelemetryTracing: false,
    // The retries are ours.
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.max_receive_message_length': maxAnswerBytes,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 5_000,
    // A connection that died silently is found out by the first call that hangs on it, and replaced.
    'grpc.keepalive_time_ms': 5_000,
    'grpc.keepalive_timeout_ms': 4_000,
    ...(plain ? { 'grpc.enable_http_proxy': 0 } : {}),
  });
};

/**
 * A client of one Cloud KMS, shared by its keys: one HTTP/2 connection, the credentials of one identity. Nothing is asked
 * yet. An endpoint by plain http (an emulator on this machine) gets credentials only where a file of them is configured.
 * Throws `failed_precondition`, reason `EGRESS_DENIED`, for an endpoint where requests may not go.
 */
export const createGcpClient = (connection: GcpConnection): GcpClient => {
  const url = new URL(connection.endpoint ?? defaultEndpoint);
  assertAllowed(url, { plainHttpHosts: gcpLoopbackHosts });
  const kms = `Google Cloud KMS (${url.host})`;
  const client = open(url, connection.ca);
  const anonymous = url.protocol === 'http:' && connection.credentialsFile === undefined;
  const credentials = anonymous ? undefined : createGcpCredentials(connection, kms);

  type Options = {
    readonly timeout: number;
    readonly retry: null;
    readonly signal: AbortSignal;
    readonly otherArgs: { readonly headers: Record<string, string> };
  };
  type Send = (options: Options) => Promise<unknown>;

  const once = async (send: Send, headers: Readonly<Record<string, string>>, context: Context): Promise<unknown> => {
    try {
      // Later than our own deadline, which is the one that is told; this ends the call at the server should we be gone.
      const timeout = Math.min(requestMs, remainingMs(context) + 1_000);
      const options = { timeout, retry: null, signal: context.signal, otherArgs: { headers: { ...headers } } };
      return await waitFor(send(options), context);
    } catch (caught) {
      // A call that is cut off fails in the words of the SDK before the wait for it does.
      if (context.signal.aborted) throw context.signal.reason;
      throw caught;
    }
  };
  const attempt = async (send: Send, context: Context): Promise<unknown> => {
    try {
      if (credentials === undefined) return await once(send, {}, context);
      const first = await credentials.headers(context);
      return await once(send, first.headers, context).catch(async (caught: unknown) => {
        if (!isUnauthenticated(caught) || !credentials.renew(first)) throw caught;
        return once(send, (await credentials.headers(context)).headers, context);
      });
    } catch (caught) {
      throw gcpError(kms, url.host, caught);
    }
  };
  const read = (send: Send, context: Context): Promise<unknown> =>
    withRetry(() => attempt(send, context), { tries: 3, context, baseMs: 50 });

  return {
    kms,
    listVersions: (parent, pageToken, context) =>
      read(async (options) => {
        const request = { parent, pageSize, pageToken };
        const [, , page] = await client.listCryptoKeyVersions(request, { ...options, autoPaginate: false });
        return page;
      }, context),
    getVersion: (name, context) =>
      read(async (options) => (await client.getCryptoKeyVersion({ name }, options))[0], context),
    getPublicKey: (name, context) =>
      read(async (options) => (await client.getPublicKey({ name }, options))[0], context),
    sign: ({ name, crc, ...toSign }, context) => {
      const input =
        'data' in toSign
          ? { name, data: toSign.data, dataCrc32c: { value: crc } }
          : { name, digest: toSign.digest, digestCrc32c: { value: crc } };
      return attempt(async (options) => (await client.asymmetricSign(input, options))[0], context);
    },
    close: () => client.close(),
  };
};
