import { fromNodeProviderChain, fromTemporaryCredentials } from '@aws-sdk/credential-providers';
import { awsCredentialsError, awsRoleError } from './credentials-errors.ts';
import { isStaleCredentials } from './errors.ts';
import type { AwsRole } from './settings.ts';
import { clientConfig, guard, silent } from './transport.ts';

type Provider = ReturnType<typeof fromTemporaryCredentials>;

/** Where the role is taken, and with whose credentials; undefined as the AWS environment says. */
type From = {
  readonly region: string | undefined;
  readonly fips: boolean | undefined;
  readonly dualStack: boolean | undefined;
  readonly profile: string | undefined;
};

/**
 * Credentials of a role, taken with those of a profile or the environment (STS AssumeRole; IAM user guide, "Request temporary
 * security credentials"). The SDK keeps them until they expire; each call here is one request, two when the credentials
 * underneath were refused as stale and are read anew. Errors: `awsRoleError`, and `awsCredentialsError` for those underneath.
 */
export const roleCredentials = (role: AwsRole, from: From, kms: string): Provider => {
  const { region, fips, dualStack, profile } = from;
  const make = (): Provider => {
    const own = fromNodeProviderChain({ ...(profile === undefined ? {} : { profile }), logger: silent });
    return fromTemporaryCredentials({
      params: {
        RoleArn: role.arn,
        RoleSessionName: role.sessionName ?? 'countersign',
        ...(role.externalId === undefined ? {} : { ExternalId: role.externalId }),
        ...(role.durationSeconds === undefined ? {} : { DurationSeconds: role.durationSeconds }),
      },
      masterCredentials: async (asked) => {
        try {
          return await own(asked);
        } catch (caught) {
          throw awsCredentialsError(kms, caught);
        }
      },
      clientConfig: {
        // One request an hour: no connection is kept, since nothing could close it.
        ...clientConfig({ keepAlive: false, maxSockets: 4 }),
        ...(region === undefined ? {} : { region }),
        ...(fips === undefined ? {} : { useFipsEndpoint: fips }),
        ...(dualStack === undefined ? {} : { useDualstackEndpoint: dualStack }),
        ...(profile === undefined ? {} : { profile }),
      },
      clientPlugins: [guard('AWS STS')],
      logger: silent,
    });
  };
  let provider = make();
  return async (asked) => {
    try {
      return await provider(asked).catch((caught: unknown) => {
        if (!isStaleCredentials(caught)) throw caught;
        provider = make();
        return provider(asked);
      });
    } catch (caught) {
      throw awsRoleError(role.arn, caught);
    }
  };
};
