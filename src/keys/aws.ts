import { createHash } from 'node:crypto';
import type { Context } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import { rsaSchemeOf } from './algorithms.ts';
import { type AwsClient, type AwsConnection, createAwsClient } from './aws/client.ts';
import { awsStateError } from './aws/errors.ts';
import { readDescription, readSignature, readVersion, signInput } from './aws/key.ts';
import { type AwsSettings, awsTarget } from './aws/settings.ts';
import type { Leases } from './leases.ts';
import { type Key, type ListedVersion, versionOf } from './port.ts';
import { readTextFile } from './read-file.ts';

export type AwsDeps = {
  /** Keys of one KMS under one identity share its client: connections and credentials. */
  readonly awsClients: Leases<AwsClient>;
};

/** Equal exactly when a client can be shared. */
const connectionId = (connection: AwsConnection): string =>
  createHash('sha256')
    .update(JSON.stringify(Object.entries(connection)))
    .digest('hex');

/** KMS deletes key material that expired and says `pending import` then. */
const expiredInstead = (caught: unknown, { validUntil }: ListedVersion, kms: string): unknown =>
  caught instanceof CountersignError && caught.reason === 'KEY_PENDING_IMPORT'
    ? (awsStateError(kms, 'PendingImport', { validTo: validUntil }) ?? caught)
    : caught;

/**
 * Opens a key of AWS KMS: DescribeKey, and GetPublicKey where its public key is not known yet, then one Sign request a signature, always for the ARN that was
 * found, so that an alias that is moved changes nothing until the key is opened again. Errors: key-backends.md section 1.7
 * as `aws/errors.ts` has it; `readDescription` and `readVersion` say what else may be wrong with a key.
 */
export const openAwsKey = async (settings: AwsSettings, deps: AwsDeps, context: Context): Promise<Key> => {
  const { keyId, region, endpoint } = awsTarget(settings);
  const ca =
    settings.caFile === undefined ? undefined : await readTextFile(settings.caFile, 'the CA file', 1024 * 1024);
  const { fips, dualStack, profile, role, name } = settings;
  const rsa = rsaSchemeOf(settings);
  const connection = { region, endpoint, ca, fips, dualStack, profile, role };
  const { value: client, release } = deps.awsClients.lease(connectionId(connection), () => createAwsClient(connection));
  const { kms } = client;
  try {
    const described = readDescription(await client.describeKey(keyId, context), rsa, kms);
    const { arn } = described;
    const publicKey = client.publicKeys.get(arn) ?? (await client.getPublicKey(arn, context));
    const version = readVersion(publicKey, described, name, rsa, kms);
    client.publicKeys.set(arn, publicKey);
    const signing = versionOf(version);
    return {
      description: {
        name,
        backend: 'aws',
        protectionLevel: described.protectionLevel,
        evidence: described.evidence,
        origin: described.origin,
        checkedAt: new Date().toISOString(),
        signing,
        versions: [version],
        opaque: [],
      },
      sign: async (toSign, asked) => {
        try {
          return readSignature(await client.sign(signInput(signing, toSign), asked), signing, kms);
        } catch (caught) {
          throw expiredInstead(caught, version, kms);
        }
      },
      close: release,
    };
  } catch (caught) {
    await release();
    throw caught;
  }
};
