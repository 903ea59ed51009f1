import { credentialError } from './errors.ts';
import type { CredentialSettings } from './settings.ts';
import type { CredentialSource } from './source.ts';
import { watchSecret } from './static.ts';

/** Which name goes with the token makes no difference to the registry; an empty one would not be a user. */
const username = 'countersign';

/**
 * The token of GitHub that the service runs with: of `tokenFile`, else of the file that GITHUB_TOKEN_FILE names, else GITHUB_TOKEN.
 * It is exchanged at the registry's token service for the repository that is asked (GitHub docs, "Working with the Container
 * registry"), and shown to no other. Rejects as `watchSecret`, and where there is none.
 */
export const openGhcrCredentials = async (
  settings: CredentialSettings,
  host: string,
  environment: Readonly<Record<string, string | undefined>>,
  warn: (problem: unknown) => void,
): Promise<CredentialSource> => {
  const file = settings.tokenFile ?? environment['GITHUB_TOKEN_FILE'];
  const token = environment['GITHUB_TOKEN'];
  if (file === undefined && (token === undefined || token === '')) {
    throw credentialError(
      'REGISTRY_CREDENTIAL_UNAVAILABLE',
      host,
      'ambient: ghcr takes GITHUB_TOKEN, GITHUB_TOKEN_FILE or tokenFile, and none is set',
      { passes: false },
    );
  }
  const read = file === undefined ? async () => token ?? '' : await watchSecret(file, host, warn);
  return {
    fetch: async (_, __, anew) => ({ kind: 'basic', username, password: await read(anew), ownRealm: true }),
  };
};
