import {
  DescribeKeyCommand,
  GetPublicKeyCommand,
  KMSClient,
  SignCommand,
  type SignCommandInput,
} from '@aws-sdk/client-kms';
import type { Context } from '../../model/context.ts';
import { waitFor } from '../../model/wait.ts';
import { withRetry } from '../../net/retry.ts';
import { withSystemRoots } from '../../net/tls.ts';
import { awsCredentialsError } from './credentials-errors.ts';
import { awsError, isStaleCredentials } from './errors.ts';
import { roleCredentials } from './role.ts';
import type { AwsRole } from './settings.ts';
import { clientConfig, guard } from './transport.ts';

/** How one KMS is reached, and as whom. */
export type AwsConnection = {
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
  /** PEM. */
  readonly ca: string | undefined;
  readonly fips: boolean | undefined;
  readonly dualStack: boolean | undefined;
  readonly profile: string | undefined;
  /** Taken with the credentials of the profile or the environment. */
  readonly role: AwsRole | undefined;
};

/** AWS KMS as far as keys need it. Answers are parsed, unchecked. Safe to call concurrently. */
export type AwsClient = {
  /** `AWS KMS (<host or region>)`, for messages. */
  readonly kms: string;
  /** Errors as `awsError`; transient ones are tried up to three times within the deadline. */
  describeKey(keyId: string, context: Context): Promise<unknown>;
  /** Errors and retries as `describeKey`. */
  getPublicKey(keyId: string, context: Context): Promise<unknown>;
  /** Answers of `getPublicKey` that were usable, by ARN: a key keeps its public key for life, and reads of it are rationed. */
  readonly publicKeys: Map<string, unknown>;
  /** Errors as `describeKey`; one attempt, and one more where credentials were refused as stale and could be renewed. */
  sign(input: SignCommandInput, context: Context): Promise<unknown>;
  close(): Promise<void>;
};

/** Refused credentials are read anew at most this often: a wrong identity must not become a storm on the token service. */
const refreshIntervalMs = 5_000;

const open = (connection: AwsConnection, kms: string): KMSClient => {
  const { region, endpoint, ca, profile, role } = connection;
  // An endpoint that is named is the endpoint, whatever AWS_USE_FIPS_ENDPOINT says; the SDK refuses both at once.
  const named = endpoint === undefined ? undefined : false;
  const fips = named ?? connection.fips;
  const dualStack = named ?? connection.dualStack;
  const client = new KMSClient({
    ...clientConfig({ keepAlive: true, maxSockets: 64, ...(ca === undefined ? {} : { ca: withSystemRoots([ca]) }) }),
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(fips === undefined ? {} : { useFipsEndpoint: fips }),
    ...(dualStack === undefined ? {} : { useDualstackEndpoint: dualStack }),
    ...(profile === undefined ? {} : { profile }),
    ...(role === undefined ? {} : { credentials: roleCredentials(role, connection, kms) }),
  });
  client.middlewareStack.use(guard(kms));
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
  const read = (send: Send, context: Context): Promise<unknown> =>
    withRetry(() => withCredentials(send, context), { tries: 3, context, baseMs: 50 });

  return {
    kms,
    publicKeys: new Map(),
    describeKey: (KeyId, context) =>
      read((options) => client.send(new DescribeKeyCommand({ KeyId }), options), context),
    getPublicKey: (KeyId, context) =>
      read((options) => client.send(new GetPublicKeyCommand({ KeyId }), options), context),
    sign: (input, context) => withCredentials((options) => client.send(new SignCommand(input), options), context),
    close: async () => client.destroy(),
  };
};
