import type { HttpClient } from '../net/port.ts';
import { openAcrCredentials } from './credentials/acr.ts';
import { openArtifactRegistryCredentials } from './credentials/artifact-registry.ts';
import { openDockerConfig } from './credentials/docker-config.ts';
import { openEcrCredentials } from './credentials/ecr.ts';
import { openGhcrCredentials } from './credentials/ghcr.ts';
import { createCredentialHelpers, type CredentialHelpers } from './credentials/helper.ts';
import type { AmbientKind, CredentialSettings } from './credentials/settings.ts';
import {
  type AmbientIdentities,
  canonicalHost,
  type CredentialSource,
  type Credentials,
} from './credentials/source.ts';
import { openStaticCredentials } from './credentials/static.ts';
import type { RegistrySettings } from './settings.ts';

export type LoadedCredentials = {
  readonly credentials: Credentials;
  /**
   * Does the configuration, or the docker config.json as it is now, have credentials for exactly this host? Nothing is asked. What a
   * credential store of docker may have for others does not count.
   */
  readonly names: (host: string) => boolean;
};

export type CredentialDeps = {
  /** Asks the token services of clouds, which the configuration chose: so without `named`. */
  readonly http: HttpClient;
  readonly identities: AmbientIdentities;
  /** Where helpers are found and what they get, and GITHUB_TOKEN. Default: that of the process. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Told what is wrong with a file that changed; the error holds no secret. */
  readonly warn: (problem: unknown) => void;
};

type Parts = Required<CredentialDeps> & { readonly helpers: CredentialHelpers };
type Open = (settings: CredentialSettings, host: string, parts: Parts) => Promise<CredentialSource> | CredentialSource;

/** The registries that know the service by where it runs. */
const ambientKinds: Readonly<Record<AmbientKind, Open>> = {
  ecr: (_, __, { identities, http }) => openEcrCredentials(identities, http),
  'artifact-registry': (_, __, { identities }) => openArtifactRegistryCredentials(identities),
  acr: ({ clientId }, _, { identities, http }) => openAcrCredentials(identities, http, clientId),
  ghcr: (settings, host, { environment, warn }) => openGhcrCredentials(settings, host, environment, warn),
};

const open: Open = (settings, host, parts) => {
  const { ambient, helper } = settings;
  if (ambient !== undefined) return ambientKinds[ambient](settings, host, parts);
  if (helper !== undefined) return { fetch: (...[, context, anew]) => parts.helpers.get(helper, host, context, anew) };
  return openStaticCredentials(settings, host, parts.warn);
};

/**
 * Credentials from the settings (they win) and from a docker config.json. Files are read, and read again when they change; helpers and
 * token services are asked when a registry asks for credentials, never before, and each for the hosts alone that it is configured for
 * (docker's `credsStore`: for any). Rejects with `failed_precondition`, reason `DOCKER_CONFIG_INVALID` or
 * `REGISTRY_CREDENTIAL_UNAVAILABLE`, with the file and host named, never a secret.
 */
export const loadCredentials = async (
  settings: Pick<RegistrySettings, 'credentials' | 'dockerConfig' | 'helperEnvironment'>,
  deps: CredentialDeps,
): Promise<LoadedCredentials> => {
  const environment = deps.environment ?? process.env;
  const helpers = createCredentialHelpers(environment, settings.helperEnvironment);
  const parts: Parts = { ...deps, environment, helpers };
  const configured = new Map<string, CredentialSource>();
  for (const [key, entry] of Object.entries(settings.credentials)) {
    const host = canonicalHost(key);
    configured.set(host, await open(entry, host, parts));
  }
  const docker =
    settings.dockerConfig === undefined ? undefined : await openDockerConfig(settings.dockerConfig, helpers, deps.warn);

  return {
    names: (host) => {
      const canonical = canonicalHost(host);
      return configured.has(canonical) || docker?.names(canonical) === true;
    },
    credentials: async (host, context, refused) => {
      const canonical = canonicalHost(host);
      const source = configured.get(canonical) ?? docker;
      return source?.fetch(canonical, context, refused !== undefined);
    },
  };
};
