import { wrapCredentialError } from './errors.ts';
import type { AmbientIdentities, CredentialSource } from './source.ts';

/**
 * Access tokens of Google for Artifact Registry, under the user name that its documentation gives for them ("Set up authentication for
 * Docker", access token). The identity keeps and renews them itself, so it is asked each time.
 */
export const openArtifactRegistryCredentials = (identities: Pick<AmbientIdentities, 'google'>): CredentialSource => ({
  fetch: async (host, context, anew) => {
    try {
      const { token } = await identities.google(context, anew);
      return { kind: 'basic', username: 'oauth2accesstoken', password: token, ownRealm: true };
    } catch (caught) {
      throw wrapCredentialError(caught, host, 'the Google identity of the service gave none');
    }
  },
});
