import { createHash } from 'node:crypto';
import type { Context } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import { rsaSchemeOf } from './algorithms.ts';
import { createGcpClient, type GcpClient, type GcpConnection } from './gcp/client.ts';
import { type GcpSettings, gcpTarget } from './gcp/settings.ts';
import { readSignature, signRequest } from './gcp/sign.ts';
import {
  algorithmNameOf,
  evidenceOf,
  type GcpVersion,
  originOf,
  pinVersion,
  protectionOf,
  readPublicKey,
  readVersion,
  readVersionsPage,
  stateOf,
} from './gcp/version.ts';
import type { Leases } from './leases.ts';
import { type Key, type ListedVersion, type OpaqueVersion, versionOf } from './port.ts';
import type { PublicKey } from './public-key.ts';
import { readTextFile } from './read-file.ts';

/** What keys of one Cloud KMS under one identity share: connection and tokens, and what never changes about a version. */
export type GcpShared = {
  readonly client: GcpClient;
  /** By resource name of the version. */
  readonly publicKeys: Map<string, PublicKey>;
  readonly attestations: Map<string, GcpVersion['attestation']>;
  close(): Promise<void>;
};

export type GcpDeps = { readonly gcpClients: Leases<GcpShared> };

/** Versions are never removed from a key: destroyed ones stay listed. */
const maxPages = 10;
/** So many of the newest versions are listed with their public keys; each costs a read request when the key is opened. */
const maxPublicKeys = 50;
const readsAtOnce = 8;
/** So many versions are remembered; read requests are few (600 a minute and project), and keys are opened every minute. */
const maxRemembered = 10_000;

const openShared = (connection: GcpConnection): GcpShared => {
  const client = createGcpClient(connection);
  return { client, publicKeys: new Map(), attestations: new Map(), close: () => client.close() };
};

const remembered = async <T>(memory: Map<string, T>, name: string, read: () => Promise<T>): Promise<T> => {
  const found = memory.get(name);
  if (found !== undefined) return found;
  const value = await read();
  if (memory.size >= maxRemembered) memory.clear();
  memory.set(name, value);
  return value;
};

/** Equal exactly when a client can be shared. */
const connectionId = (connection: GcpConnection): string =>
  createHash('sha256')
    .update(JSON.stringify(Object.entries(connection)))
    .digest('hex');

/** All versions, newest first. */
const listVersions = async (client: GcpClient, keyName: string, context: Context): Promise<readonly GcpVersion[]> => {
  const found: GcpVersion[] = [];
  let token = '';
  for (let page = 0; page < maxPages; page++) {
    const { versions, next } = readVersionsPage(
      await client.listVersions(keyName, token, context),
      keyName,
      client.kms,
    );
    found.push(...versions);
    if (next === '') return found.sort((one, other) => other.number - one.number);
    token = next;
  }
  throw new CountersignError(
    'failed_precondition',
    'KEY_UNSUPPORTED',
    `The key in ${client.kms} has more than ${found.length} versions: create a new key, and configure that.`,
  );
};

type Known = { readonly version: GcpVersion; readonly publicKey: PublicKey | undefined };

const publicKeyOf = ({ client, publicKeys }: GcpShared, version: GcpVersion, context: Context): Promise<PublicKey> =>
  remembered(publicKeys, version.name, async () =>
    readPublicKey(await client.getPublicKey(version.name, context), version, client.kms),
  );

/** Versions with their public keys as far as Cloud KMS gives them: of enabled ones, and not of one disabled meanwhile. */
const readPublicKeys = async (
  shared: GcpShared,
  versions: readonly GcpVersion[],
  context: Context,
): Promise<readonly Known[]> => {
  const readable = (version: GcpVersion): boolean =>
    version.state === 'ENABLED' && algorithmNameOf(version) !== undefined;
  const wanted = new Set(versions.filter(readable).slice(0, maxPublicKeys));
  const readOne = async (version: GcpVersion): Promise<Known> => {
    if (!wanted.has(version)) return { version, publicKey: undefined };
    try {
      return { version, publicKey: await publicKeyOf(shared, version, context) };
    } catch (caught) {
      if (!(caught instanceof CountersignError) || caught.code !== 'failed_precondition') throw caught;
      return { version, publicKey: undefined };
    }
  };
  const known: Known[] = [];
  for (let at = 0; at < versions.length; at += readsAtOnce) {
    known.push(...(await Promise.all(versions.slice(at, at + readsAtOnce).map(readOne))));
  }
  return known;
};

const openVersions = async (shared: GcpShared, settings: GcpSettings, context: Context) => {
  const { client, attestations } = shared;
  const { kms } = client;
  const { keyName, version: wanted } = gcpTarget(settings);
  const listed = await listVersions(client, keyName, context);
  const pinned = pinVersion(listed, wanted, rsaSchemeOf(settings), kms);
  // Lists leave the attestation out, which takes 40 KiB and more a version.
  const attestation = await remembered(attestations, pinned.name, async () => {
    const version = readVersion(await client.getVersion(pinned.name, context), pinned.name, keyName, kms);
    return version.attestation ?? null;
  });
  const signs = { ...pinned, attestation };
  const signingKey = await publicKeyOf(shared, signs, context);
  const rest = listed.filter((each) => each !== pinned);
  const others = await readPublicKeys(shared, rest, context);
  const all = [...others, { version: signs, publicKey: signingKey }].sort(
    (one, other) => other.version.number - one.version.number,
  );
  const versions: ListedVersion[] = [];
  const opaque: OpaqueVersion[] = [];
  for (const { version, publicKey } of all) {
    const facts = { version: version.name, state: stateOf(version), createdAt: version.createTime ?? undefined };
    if (publicKey === undefined) opaque.push(facts);
    else versions.push({ key: settings.name, ...facts, ...publicKey });
  }
  const signing = versionOf({
    key: settings.name,
    version: signs.name,
    ...signingKey,
    state: 'enabled',
    createdAt: undefined,
  });
  return { signs, signing, versions, opaque };
};

/**
 * Opens a key of Google Cloud KMS: reads all its versions, pins the configured or newest enabled one, then sends one
 * AsymmetricSign request a signature, always for that version. Errors: key-backends.md section 1.7 as `gcp/errors.ts` has it;
 * `gcp/version.ts` and `gcp/sign.ts` say what else may be wrong.
 */
export const openGcpKey = async (settings: GcpSettings, deps: GcpDeps, context: Context): Promise<Key> => {
  const ca =
    settings.caFile === undefined ? undefined : await readTextFile(settings.caFile, 'the CA file', 1024 * 1024);
  const { endpoint, credentialsFile, impersonateServiceAccount: impersonate } = settings;
  const connection = { endpoint, ca, credentialsFile, impersonate };
  const { value: shared, release } = deps.gcpClients.lease(connectionId(connection), () => openShared(connection));
  const { client } = shared;
  try {
    const { signs, signing, versions, opaque } = await openVersions(shared, settings, context);
    return {
      description: {
        name: settings.name,
        backend: 'gcp',
        protectionLevel: protectionOf(signs),
        evidence: evidenceOf(signs),
        origin: originOf(signs),
        checkedAt: new Date().toISOString(),
        signing,
        versions,
        opaque,
      },
      sign: async (toSign, asked) => {
        const request = signRequest(signing, toSign);
        return readSignature(await client.sign(request, asked), request, signs.protectionLevel, client.kms);
      },
      close: release,
    };
  } catch (caught) {
    await release();
    throw caught;
  }
};
