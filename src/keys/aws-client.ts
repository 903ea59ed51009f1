import {
  DescribeKeyCommand,
  GetPublicKeyCommand,
  KMSClient,
  SignCommand,
  type SignCommandInput,
} from '@aws-sdk/client-kms';
import type { Context } from '../model/context.ts';
import { waitFor } from '../model/wait.ts';
import { assertAllowed } from '../net/egress.ts';
import { responseTooLarge } from '../net/errors.ts';
import { withRetry } from '../net/retry.ts';
import { withSystemRoots } from '../net/tls.ts';
import { awsCredentialsError, awsError, isStaleCredentials } from './aws-errors.ts';
import { loopbackHosts } from './aws-settings.ts';

/** How one KMS is reached, and as whom. */
export type AwsConnection = {
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
  /** PEM. */
  readonly ca: string | undefined;
  readonly fips: boolean | undefined;
  readonly dualStack: boolean | undefined;
  readonly profile: string | undefined;
};

/** AWS KMS as far as keys need it. Answers are parsed, unchecked. Safe to call concurrently. */
export type AwsClient = {
  /** `AWS KMS (<host or region>)`, for messages. */
  readonly kms: string;
  /** Errors as `awsError`; transient ones are tried up to three times within the deadline. */
  describeKey(keyId: string, context: Context): Promise<unknown>;
  /** Errors and retries as `describeKey`. */
  getPublicKey(keyId: string, context: Context): Promise<unknown>;
  /** Errors and retries as `describeKey`; a second signature is harmless. */
  sign(input: SignCommandInput, context: Context): Promise<unknown>;
  close(): Promise<void>;
};

const connectMs = 3_000;
/** The longest that one try may take, whatever the deadline. */
const requestMs = 10_000;
/** An answer of KMS takes less than 4 KiB. */
const maxAnswerBytes = 64 * 1024;
/** Refused credentials are read anew at most this often: a wrong identity must not become a storm on the token service. */
const refreshIntervalMs = 5_000;

const silent = { trace: () => {}, debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** What the SDK's middleware hands on, as far as it is looked at here. */
type Outgoing = { readonly protocol: string; readonly hostname: string; readonly port?: number | undefined };
type Incoming = { body: AsyncIterable<Uint8Array> | Uint8Array };

/** The egress policy of `net/`, for every address that the SDK comes up with: AWS_ENDPOINT_URL names any. */
const assertEgress = (request: unknown): void => {
  const { protocol, hostname, port } = request as Outgoing;
  assertAllowed(new URL(`${protocol}//${hostname}${port === undefined ? '' : `:${port}`}`), {
    plainHttpHosts: loopbackHosts,
  });
};

/** Reads the body before the SDK would, which sets no bound. */
const readBounded = async (response: unknown, kms: string): Promise<void> => {
  const incoming = response as Incoming;
  if (incoming.body instanceof Uint8Array) return;
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop early destroys the stream, and the connection with it.
  for await (const chunk of incoming.body) {
    size += chunk.byteLength;
    if (size > maxAnswerBytes) throw responseTooLarge(kms, maxAnswerBytes);
    chunks.push(chunk);
  }
  incoming.body = Buffer.concat(chunks, size);
};

const open = ({ region, endpoint, ca, fips, dualStack, profile }: AwsConnection, kms: string): KMSClient => {
  const httpsAgent = { keepAlive: true, maxSockets: 64, ...(ca === undefined ? {} : { ca: withSystemRoots([ca]) }) };
  const client = new KMSClient({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(fips === undefined ? {} : { useFipsEndpoint: fips }),
    ...(dualStack === undefined ? {} : { useDualstackEndpoint: dualStack }),
    ...(profile === undefined ? {} : { profile }),
    // The retries are ours: below. `standard`, since AWS_RETRY_MODE=adaptive would hold requests back on its own.
    maxAttempts: 1,
    retryMode: 'standard',
    logger: silent,
    requestHandler: {
      connectionTimeout: connectMs,
      requestTimeout: requestMs,
      throwOnRequestTimeout: true,
      socketTimeout: requestMs,
      httpAgent: { keepAlive: true, maxSockets: 64 },
      httpsAgent,
      logger: silent,
    },
  });
  client.middlewareStack.add(
    (next) => (args) => {
      assertEgress(args.request);
      return next(args);
    },
    { step: 'finalizeRequest', name: 'countersignEgress', priority: 'low' },
  );
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      await readBounded(result.response, kms);
      return result;
    },
    { step: 'deserialize', name: 'countersignBounds', priority: 'low' },
  );
  return client;
};

/**
 * A client of one KMS, shared by its keys: keep-alive connections, credentials of the AWS environment (or a profile) that
 * the SDK renews before they expire and that are read anew once when KMS refuses them as stale. Nothing is asked yet.
 * Requests go through the SDK's own HTTP handler, with the egress policy and the bounds of `net/` put before and after it;
 * where credentials come from (token service, metadata service) is the SDK's alone.
 */
export const createAwsClient = (connection: AwsConnection): AwsClient => {
  const host =
    connection.endpoint === undefined ? (connection.region ?? 'default region') : new URL(connection.endpoint).host;
  const kms = `AWS KMS (${host})`;
  const client = open(connection, kms);
  let refreshing: Promise<void> | undefined;
  let refreshedAt = Number.NEGATIVE_INFINITY;

  const credentials = async (asked: { forceRefresh: boolean }): Promise<void> => {
    try {
      await client.config.credentials(asked);
    } catch (caught) {
      throw awsCredentialsError(kms, caught);
    }
  };
  /** False when that was done a moment ago and did not help. */
  const refreshCredentials = async (context: Context): Promise<boolean> => {
    if (refreshing === undefined) {
      if (performance.now() - refreshedAt < refreshIntervalMs) return false;
      refreshing = credentials({ forceRefresh: true }).finally(() => {
        refreshing = undefined;
        refreshedAt = performance.now();
      });
    }
    await waitFor(refreshing, context);
    return true;
  };

  type Send = (options: { readonly abortSignal: AbortSignal }) => Promise<unknown>;
  const once = async (send: Send, context: Context): Promise<unknown> => {
    // Asked here, kept by the SDK: so that what is wrong with them is told apart from what is wrong with KMS. The SDK does
    // not give up on their source when the signal ends; the caller is let go all the same.
    await waitFor(credentials({ forceRefresh: false }), context);
    return waitFor(send({ abortSignal: context.signal }), context);
  };
  const withCredentials = async (send: Send, context: Context): Promise<unknown> => {
    try {
      return await once(send, context).catch(async (caught: unknown) => {
        if (isStaleCredentials(caught) && (await refreshCredentials(context))) return once(send, context);
        throw caught;
      });
    } catch (caught) {
      // An aborted request fails in the words of the SDK before the wait for it does.
      throw context.signal.aborted ? context.signal.reason : awsError(kms, host, caught);
    }
  };
  const call = (send: Send, context: Context): Promise<unknown> =>
    withRetry(() => withCredentials(send, context), { tries: 3, context, baseMs: 50 });

  return {
    kms,
    describeKey: (KeyId, context) =>
      call((options) => client.send(new DescribeKeyCommand({ KeyId }), options), context),
    getPublicKey: (KeyId, context) =>
      call((options) => client.send(new GetPublicKeyCommand({ KeyId }), options), context),
    sign: (input, context) => call((options) => client.send(new SignCommand(input), options), context),
    close: async () => client.destroy(),
  };
};
