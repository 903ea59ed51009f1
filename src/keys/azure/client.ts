import { CryptographyClient, KeyClient, type KeyClientOptions, type KeyVaultKey } from '@azure/keyvault-keys';
import type { Context } from '../../model/context.ts';
import { CountersignError } from '../../model/error.ts';
import { waitFor } from '../../model/wait.ts';
import type { HttpClientOptions } from '../../net/http.ts';
import type { HttpClient, HttpResponse } from '../../net/port.ts';
import { withRetry } from '../../net/retry.ts';
import { createAzureCredential, credentialEgress } from './credential.ts';
import { azureError, azureSdkError } from './errors.ts';
import { azureTransport } from './http.ts';
import type { AzureBundle } from './key.ts';
import type { AzureCredentialSettings } from './settings.ts';

/** How one vault is reached, and as whom. */
export type AzureConnection = {
  readonly vaultUrl: string;
  readonly managedHsm: boolean;
  readonly verifyChallenge: boolean;
  readonly authorityHost: string | undefined;
  readonly credential: AzureCredentialSettings;
  /** PEM. */
  readonly ca: string | undefined;
};

/** What can sign here, by the names of RFC 7518. */
export type AzureSignRequest = {
  readonly key: string;
  readonly version: string;
  readonly alg: string;
  readonly digest: Uint8Array;
};

/**
 * A vault as far as keys need it. Answers are parsed JSON, unchecked, except for the versions, which the SDK has turned into
 * its own `KeyProperties`. Safe to call concurrently. Errors as `azureError`, `azureSdkError` and `azureTokenError`.
 */
export type AzureClient = {
  /** `Azure Key Vault (<host>)`, for messages. */
  readonly vault: string;
  /** Versions that were read before, by `key/version`: the public key of one never changes. */
  readonly seen: Map<string, AzureBundle>;
  /** All versions of a key; transient failures are tried up to three times within the deadline. */
  listVersions(key: string, context: Context): Promise<readonly unknown[]>;
  /** Retries as `listVersions`. */
  getKey(key: string, version: string, context: Context): Promise<unknown>;
  /** Managed HSM only. One attempt. */
  getAttestation(key: string, version: string, context: Context): Promise<unknown>;
  /** One attempt, and one more after a token that was refused was renewed. */
  sign(request: AzureSignRequest, context: Context): Promise<unknown>;
  close(): Promise<void>;
};

/** More versions than this are not read: rotated daily, a key reaches it in three years. */
const maxVersions = 1_000;
/** A refused token is renewed at most this often: a wrong identity must not become a storm on the issuer. */
const refreshIntervalMs = 5_000;

type Answered = { readonly parsedBody?: unknown; readonly status: number };
type CallOptions = { readonly abortSignal: AbortSignal; readonly onResponse: (answer: Answered) => void };
type Clients = { readonly keys: KeyClient; readonly signers: Map<string, CryptographyClient> };

const tooManyVersions = (vault: string): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'KEY_UNSUPPORTED',
    `The key in ${vault} has more than ${maxVersions} versions, which are not read: create a new key.`,
  );

/**
 * A client of one vault under one identity, shared by its keys: keep-alive connections, and tokens that are renewed before
 * they expire. Nothing is asked yet. The SDK's clients run on the outbound client of `net/`, without retries or redirects of
 * their own.
 */
export const createAzureClient = (
  connection: AzureConnection,
  createHttp: (options: HttpClientOptions) => HttpClient,
): AzureClient => {
  const { vaultUrl, managedHsm, verifyChallenge, authorityHost, credential, ca } = connection;
  const service = managedHsm ? 'Azure Managed HSM' : 'Azure Key Vault';
  const vault = `${service} (${new URL(vaultUrl).host})`;
  const trusted = ca === undefined ? {} : { ca: [ca] };
  const vaultHttp = createHttp({ plainHttpHosts: [], connectionsPerHost: 64, ...trusted });
  const tokenHttp = createHttp({ ...credentialEgress(credential.method), ...trusted });
  const tokens = createAzureCredential(credential, authorityHost, tokenHttp, vault);

  // A 401 is the SDK's to answer: the challenge that tells it whom to ask for a token.
  const inspect = (response: HttpResponse): void => {
    if (response.status !== 200 && response.status !== 401) throw azureError(vault, response);
  };
  const options = (): KeyClientOptions => ({
    httpClient: azureTransport(vaultHttp, inspect),
    retryOptions: { maxRetries: 0 },
    redirectOptions: { maxRetries: 0 },
    disableChallengeResourceVerification: !verifyChallenge,
  });
  const open = (): Clients => ({ keys: new KeyClient(vaultUrl, tokens, options()), signers: new Map() });

  let clients = open();
  let renewedAt = Number.NEGATIVE_INFINITY;
  /** The SDK sends a refused token again until it expires, so its clients go with it. False when that did not help a moment ago. */
  const renew = (refused: Clients): boolean => {
    if (clients !== refused) return true;
    if (performance.now() - renewedAt < refreshIntervalMs) return false;
    renewedAt = performance.now();
    tokens.forget();
    clients = open();
    return true;
  };

  type Send<T> = (using: Clients, options: CallOptions) => Promise<T>;
  type Outcome<T> = { readonly value: T } | { readonly error: unknown; readonly refused: boolean };
  const once = async <T>(send: Send<T>, using: Clients, context: Context): Promise<Outcome<T>> => {
    let status: number | undefined;
    const onResponse = (answer: Answered): void => {
      ({ status } = answer);
    };
    try {
      return { value: await waitFor(send(using, { abortSignal: context.signal, onResponse }), context) };
    } catch (caught) {
      // An aborted request fails in the words of the SDK before the wait for it does.
      if (context.signal.aborted) return { error: context.signal.reason, refused: false };
      return { error: azureSdkError(vault, caught, status), refused: status === 401 };
    }
  };
  const call = async <T>(send: Send<T>, context: Context): Promise<T> => {
    const using = clients;
    const first = await once(send, using, context);
    const outcome = 'error' in first && first.refused && renew(using) ? await once(send, clients, context) : first;
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  };
  const retried = <T>(send: Send<T>, context: Context): Promise<T> =>
    withRetry(() => call(send, context), { tries: 3, context, baseMs: 50 });

  /** The JSON of the answer, as it came; what the SDK makes of it is looser than what is checked here. */
  const answerOf = async (work: (options: CallOptions) => Promise<unknown>, options: CallOptions): Promise<unknown> => {
    let body: unknown;
    await work({
      ...options,
      onResponse: (answer) => {
        options.onResponse(answer);
        body = answer.parsedBody;
      },
    });
    return body;
  };

  const signerOf = ({ signers }: Clients, key: string, version: string): CryptographyClient => {
    const id = `${vaultUrl}/keys/${key}/${version}`;
    const signer = signers.get(id) ?? new CryptographyClient(keyOf(vaultUrl, key, version), tokens, options());
    signers.set(id, signer);
    return signer;
  };

  return {
    vault,
    seen: new Map(),
    listVersions: (key, context) =>
      retried(async ({ keys }, options) => {
        const versions: unknown[] = [];
        for await (const version of keys.listPropertiesOfKeyVersions(key, options)) {
          versions.push(version);
          if (versions.length > maxVersions) throw tooManyVersions(vault);
        }
        return versions;
      }, context),
    getKey: (key, version, context) =>
      retried(({ keys }, options) => answerOf((each) => keys.getKey(key, { ...each, version }), options), context),
    getAttestation: (key, version, context) =>
      call(
        ({ keys }, options) => answerOf((each) => keys.getKeyAttestation(key, { ...each, version }), options),
        context,
      ),
    sign: ({ key, version, alg, digest }, context) =>
      call(
        (using, options) => answerOf((each) => signerOf(using, key, version).sign(alg, digest, each), options),
        context,
      ),
    close: async () => {
      await Promise.all([vaultHttp.close(), tokenHttp.close()]);
    },
  };
};

/**
 * What the SDK's signing client is told of the version: where it is, and nothing more. Given an address instead it would ask
 * for the key before the first signature; given a validity it would judge that itself, by what was true when it was read.
 */
const keyOf = (vaultUrl: string, name: string, version: string): KeyVaultKey => {
  const id = `${vaultUrl}/keys/${name}/${version}`;
  return { id, name, key: {}, properties: { id, name, version, vaultUrl } };
};
