import { createHash } from 'node:crypto';
import { type Context, openContext } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import type { HttpClientOptions } from '../net/http.ts';
import type { HttpClient } from '../net/port.ts';
import { rsaSchemeOf } from './algorithms.ts';
import { type AzureClient, type AzureConnection, createAzureClient } from './azure/client.ts';
import {
  type AzureKey,
  assertSigns,
  pinVersion,
  readBundle,
  readPublicKey,
  readSignature,
  readVersions,
  signInput,
} from './azure/key.ts';
import { attestationEvidence, evidenceOf, protectionOf } from './azure/protection.ts';
import { type AzureSettings, azureTarget } from './azure/settings.ts';
import type { Leases } from './leases.ts';
import { type Key, type ListedVersion, type OpaqueVersion, versionOf } from './port.ts';
import { readTextFile } from './read-file.ts';

export type AzureDeps = {
  readonly createHttp: (options: HttpClientOptions) => HttpClient;
  /** Keys of one vault under one identity share its client: connections and tokens. */
  readonly azureClients: Leases<AzureClient>;
};

/** Public keys of more versions than this are not fetched: those of the newest are. */
const maxPublicKeys = 100;
/** So many requests at once while a key is opened. */
const parallel = 8;
/** The attestation is not worth more of the time that opening may take: milliseconds. */
const attestationMs = 3_000;

/** Equal exactly when a client can be shared; a digest, since it covers secrets. */
const connectionId = (connection: AzureConnection): string =>
  createHash('sha256')
    .update(JSON.stringify(Object.entries(connection)))
    .digest('hex');

type Read = (facts: OpaqueVersion) => Promise<ListedVersion>;

/** The public keys of what may be verified; a version whose key the vault does not give, or that cannot be used, stays opaque. */
const readListed = async (
  versions: readonly OpaqueVersion[],
  read: Read,
): Promise<readonly (ListedVersion | OpaqueVersion)[]> => {
  const wanted = versions.filter(({ state }) => state !== 'disabled').slice(0, maxPublicKeys);
  const known = new Map<string, ListedVersion>();
  for (let from = 0; from < wanted.length; from += parallel) {
    await Promise.all(
      wanted.slice(from, from + parallel).map(async (facts) => {
        try {
          known.set(facts.version, await read(facts));
        } catch (caught) {
          if (!(caught instanceof CountersignError && caught.code === 'failed_precondition')) throw caught;
        }
      }),
    );
  }
  return versions.map((facts) => known.get(facts.version) ?? facts);
};

/** What a Managed HSM attests of the key; that it cannot be had stops nothing. */
const readAttestation = async (
  client: AzureClient,
  { key }: AzureKey,
  version: string,
  context: Context,
): Promise<Record<string, string>> => {
  const owned = openContext(context.requestId, attestationMs);
  context.signal.addEventListener('abort', owned.cancel, { once: true });
  try {
    const evidence = attestationEvidence(await client.getAttestation(key, version, owned.context));
    return evidence ?? { attestation: 'none was given' };
  } catch (caught) {
    const why = caught instanceof CountersignError ? caught.reason : 'INTERNAL';
    return { attestation: `could not be read (${why})` };
  } finally {
    context.signal.removeEventListener('abort', owned.cancel);
    owned.dispose();
  }
};

const openWith = async (
  client: AzureClient,
  settings: AzureSettings,
  context: Context,
): Promise<Omit<Key, 'close'>> => {
  const target = azureTarget(settings);
  const { vault } = client;
  const key: AzureKey = { name: settings.name, key: target.key, vault, rsa: rsaSchemeOf(settings) };
  const listed = readVersions(await client.listVersions(key.key, context), key, new Date());
  const pinned = pinVersion(listed, target.version, key);
  const fetched = async (version: string) => readBundle(await client.getKey(key.key, version, context), version, key);
  const bundle = await fetched(pinned.version);
  assertSigns(bundle, key);
  const signs = readPublicKey(bundle, pinned, key);
  const read: Read = async (facts) => {
    if (facts === pinned) return signs;
    const id = `${key.key}/${facts.version}`;
    const seen = client.seen.get(id) ?? (await fetched(facts.version));
    client.seen.set(id, seen);
    return readPublicKey(seen, facts, key);
  };
  const versions = await readListed(listed, read);
  const attestation = target.managedHsm ? await readAttestation(client, key, pinned.version, context) : {};
  const signing = versionOf(signs);
  const { kid } = bundle.key;
  return {
    description: {
      name: settings.name,
      backend: 'azure',
      protectionLevel: protectionOf(bundle, target.managedHsm),
      evidence: { ...evidenceOf(bundle, new URL(target.vaultUrl).host), ...attestation },
      origin: 'unknown',
      checkedAt: new Date().toISOString(),
      signing,
      versions: versions.filter((each) => 'spki' in each),
      opaque: versions.filter((each) => !('spki' in each)),
    },
    sign: async (toSign, asked) => {
      const request = { key: key.key, version: signing.version, ...signInput(signing, toSign) };
      return readSignature(await client.sign(request, asked), signing, kid, vault);
    },
  };
};

/**
 * Opens a key of Azure Key Vault or Managed HSM: lists its versions, reads the public keys of those that are not disabled
 * (the newest 100), and pins the configured or newest usable one; one request a signature from then on, always for that
 * version. Azure does not tell whether a key was imported. Errors: key-backends.md section 1.7 as `azure/errors.ts` has it;
 * `azure/key.ts` says what else may be wrong with a key.
 */
export const openAzureKey = async (settings: AzureSettings, deps: AzureDeps, context: Context): Promise<Key> => {
  const ca =
    settings.caFile === undefined ? undefined : await readTextFile(settings.caFile, 'the CA file', 1024 * 1024);
  const { vaultUrl, managedHsm, authorityHost } = azureTarget(settings);
  const verifyChallenge = !settings.disableChallengeResourceVerification;
  const connection = { vaultUrl, managedHsm, verifyChallenge, authorityHost, credential: settings.credential, ca };
  const { value: client, release } = deps.azureClients.lease(connectionId(connection), () =>
    createAzureClient(connection, deps.createHttp),
  );
  try {
    return { ...(await openWith(client, settings, context)), close: release };
  } catch (caught) {
    await release();
    throw caught;
  }
};
