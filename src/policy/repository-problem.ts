import { canonicalRegistryHost } from '../model/registry-host.ts';

/**
 * Why no repository can ever match this pattern, and what to write; undefined when one can. Names are compared in their
 * canonical form (registry/reference.ts), so a deny rule in another spelling would be silent and forbid nothing.
 */
export const repositoryProblem = (pattern: string): { readonly problem: string; readonly fix: string } | undefined => {
  const slash = pattern.indexOf('/');
  const host = slash < 0 ? pattern : pattern.slice(0, slash);
  const path = slash < 0 ? '' : pattern.slice(slash);
  if (pattern.includes('://')) return never('a scheme', 'write host/path');
  if (pattern.includes('@') || path.includes(':')) return never('a tag or digest', 'write host/path alone');
  if (/[A-Z]/.test(pattern)) return never('upper-case letters', 'write the host and the path in lower case');
  if (host.includes('*')) return undefined;
  if (slash < 0) return never('no path', `write "${host}/**" for all of a registry`);
  if (host !== 'localhost' && !/[.:]/.test(host)) {
    return never('no registry host', `write it out, for Docker Hub as index.docker.io/<owner>/<name>`);
  }
  const canonical = canonicalRegistryHost(host);
  if (canonical === undefined) return never(`a host that cannot be asked ("${host}")`, 'write host or host:port');
  const wanted = dockerHubAliases.includes(canonical) ? 'index.docker.io' : canonical;
  if (wanted !== host) return never(`another name than "${wanted}" for that registry`, `write "${wanted}${path}"`);
  return undefined;
};

const dockerHubAliases = ['docker.io', 'registry-1.docker.io'];

const never = (what: string, fix: string) => ({ problem: `the pattern has ${what}, so it matches no repository`, fix });
