import type { KMSClientConfig } from '@aws-sdk/client-kms';
import type { fromTemporaryCredentials } from '@aws-sdk/credential-providers';
import { assertAllowed } from '../../net/egress.ts';
import { responseTooLarge } from '../../net/errors.ts';
import { loopbackHosts } from './settings.ts';

const connectMs = 3_000;
/** The longest that one try may take, whatever the deadline. */
const requestMs = 10_000;
/** An answer of KMS or STS takes less than 4 KiB. */
const maxAnswerBytes = 64 * 1024;

export const silent = { trace: () => {}, debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

type AgentOptions = { readonly keepAlive: boolean; readonly maxSockets: number; readonly ca?: string[] };

/**
 * What every client of AWS is made with here. The retries are ours: `standard`, since AWS_RETRY_MODE=adaptive would hold
 * requests back on its own.
 */
export const clientConfig = (httpsAgent: AgentOptions) =>
  ({
    maxAttempts: 1,
    retryMode: 'standard',
    logger: silent,
    requestHandler: {
      connectionTimeout: connectMs,
      requestTimeout: requestMs,
      throwOnRequestTimeout: true,
      socketTimeout: requestMs,
      httpAgent: { keepAlive: httpsAgent.keepAlive, maxSockets: httpsAgent.maxSockets },
      httpsAgent,
      logger: silent,
    },
  }) as const satisfies KMSClientConfig;

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
const readBounded = async (response: unknown, service: string): Promise<void> => {
  const incoming = response as Incoming;
  if (incoming.body instanceof Uint8Array) return;
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop early destroys the stream, and the connection with it.
  for await (const chunk of incoming.body) {
    size += chunk.byteLength;
    if (size > maxAnswerBytes) throw responseTooLarge(service, maxAnswerBytes);
    chunks.push(chunk);
  }
  incoming.body = Buffer.concat(chunks, size);
};

/** A plugin that fits every client. */
type Plugin = NonNullable<Parameters<typeof fromTemporaryCredentials>[0]['clientPlugins']>[number];

/**
 * Puts the egress policy before, and the bound on answers after, the SDK's own HTTP handler. `service` is named in errors.
 * Applying it again changes nothing.
 */
export const guard = (service: string): Plugin => ({
  applyToStack: (stack) => {
    stack.add(
      (next) => (args) => {
        assertEgress(args.request);
        return next(args);
      },
      { step: 'finalizeRequest', name: 'countersignEgress', priority: 'low', override: true },
    );
    stack.add(
      (next) => async (args) => {
        const result = await next(args);
        await readBounded(result.response, service);
        return result;
      },
      { step: 'deserialize', name: 'countersignBounds', priority: 'low', override: true },
    );
  },
});
