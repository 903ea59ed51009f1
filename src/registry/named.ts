import { createAllowList } from './allow-list.ts';
import type { Credentials } from './credentials.ts';
import type { RegistrySettings } from './settings.ts';

/**
 * Does the configuration name this registry host (`host[:port]`, as in URLs)? It does when it spells it out in `allow` or
 * `destinations`, or has credentials for it. For `named` of the egress policy, where `plainHttpHosts` count already. What callers name,
 * and what registries answer with, never gets here.
 */
export const namedRegistry = (
  settings: Pick<RegistrySettings, 'allow' | 'destinations'>,
  credentials: Credentials,
): ((host: string) => boolean) => {
  const spelled = createAllowList([
    ...(settings.allow ?? []),
    ...settings.destinations.flatMap(({ repositories, signatureRepository }) =>
      signatureRepository === undefined ? repositories : [...repositories, signatureRepository],
    ),
  ]);
  return (host) => spelled.names(host) || credentials(host) !== undefined;
};
