import { createAllowList } from './allow-list.ts';
import { canonicalRegistry } from './reference.ts';
import type { RegistrySettings } from './settings.ts';

/**
 * Does the configuration name this registry host (`host[:port]`, as in URLs)? It does when it spells it out in `allow` or
 * `destinations`, has credentials for it (`withCredentials`), or a rule of the policy in force that lets callers sign or verify there
 * spells it out (`policyRepositories`, patterns `host/path`, asked anew each time). For `named` of the egress policy, where
 * `plainHttpHosts` count already. What callers name, and what registries answer with, never gets here.
 */
export const namedRegistry = (
  settings: Pick<RegistrySettings, 'allow' | 'destinations'>,
  withCredentials: (host: string) => boolean,
  policyRepositories: () => readonly string[] = () => [],
): ((host: string) => boolean) => {
  const spelled = createAllowList([
    ...(settings.allow ?? []),
    ...settings.destinations.flatMap(({ repositories, signatureRepository }) =>
      signatureRepository === undefined ? repositories : [...repositories, signatureRepository],
    ),
  ]);
  return (host) =>
    spelled.names(host) || withCredentials(host) || hostsOf(policyRepositories()).has(canonicalRegistry(host) ?? host);
};

/** A policy is replaced as a whole, so its list is, too. */
const hosts = new WeakMap<readonly string[], ReadonlySet<string>>();

/** The hosts that patterns spell out: nothing with a star before the first slash. */
const hostsOf = (patterns: readonly string[]): ReadonlySet<string> => {
  const known = hosts.get(patterns);
  if (known !== undefined) return known;
  const found = new Set(
    patterns.flatMap((pattern) => {
      const slash = pattern.indexOf('/');
      const host = slash < 0 ? '' : pattern.slice(0, slash);
      return host === '' || host.includes('*') ? [] : [canonicalRegistry(host) ?? host];
    }),
  );
  hosts.set(patterns, found);
  return found;
};
