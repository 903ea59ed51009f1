import { createHash } from 'node:crypto';
import type { Context } from '../model/context.ts';
import { type AwsClient, type AwsConnection, createAwsClient } from './aws-client.ts';
import { readDescription, readSignature, readVersion, signInput } from './aws-key.ts';
import { type AwsSettings, awsTarget } from './aws-settings.ts';
import type { Leases } from './leases.ts';
import { type Key, versionOf } from './port.ts';
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

/**
 * Opens a key of AWS KMS: DescribeKey and GetPublicKey once, then one Sign request a signature, always for the ARN that was
 * found, so that an alias that is moved changes nothing until the key is opened again. Errors: key-backends.md section 1.7
 * as `aws-errors.ts` has it; `readDescription` and `readVersion` say what else may be wrong with a key.
 */
export const openAwsKey = async (settings: AwsSettings, deps: AwsDeps, context: Context): Promise<Key> => {
  const { keyId, region, endpoint } = awsTarget(settings);
  const ca =
    settings.caFile === undefined ? undefined : await readTextFile(settings.caFile, 'the CA file', 1024 * 1024);
  const { profile, rsaPadding, name } = settings;
  // An endpoint that is named is the endpoint, whatever AWS_USE_FIPS_ENDPOINT says; the SDK refuses both at once.
  const named = endpoint === undefined ? undefined : false;
  const fips = named ?? settings.fips;
  const dualStack = named ?? settings.dualStack;
  const connection = { region, endpoint, ca, fips, dualStack, profile };
  const { value: client, release } = deps.awsClients.lease(connectionId(connection), () => createAwsClient(connection));
  const { kms } = client;
  try {
    const described = readDescription(await client.describeKey(keyId, context), rsaPadding, kms);
    const version = readVersion(await client.getPublicKey(described.arn, context), described, name, rsaPadding, kms);
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
      sign: async (toSign, asked) => readSignature(await client.sign(signInput(signing, toSign), asked), signing, kms),
      close: release,
    };
  } catch (caught) {
    await release();
    throw caught;
  }
};
