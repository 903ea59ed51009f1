import { CountersignError } from '../model/error.ts';
import { canonicalRegistry } from './reference.ts';
import type { Target } from './target.ts';

/** Which repositories the configuration lets us reach (`registry.allow`). */
export type AllowList = {
  /** Throws `permission_denied`, reason `REGISTRY_NOT_ALLOWED`, for a repository that no entry fits. */
  check(target: Target): void;
  /** Is this `host[:port]` one that an entry spells out, without a star? */
  names(host: string): boolean;
};

/**
 * Reads the entries: `host[:port]` is all of a registry, `host[:port]/path` a part of it. `*` stands for any characters within
 * the host or a component of the path, once in each; `**` as the last component for all that follows. Without a list
 * everything is allowed, and nothing is named. Entries must have passed `allowEntryProblem`.
 */
export const createAllowList = (entries: readonly string[] | undefined): AllowList => {
  const patterns = entries?.map((entry) => parseEntry(entry));
  const hosts = new Set(patterns?.map(([host = '']) => host).filter((host) => !host.includes('*')));
  return {
    check: (target) => {
      if (patterns === undefined) return;
      const components = [target.registry, ...target.repository.split('/')];
      if (!patterns.some((pattern) => fits(pattern, components))) throw notAllowed(target);
    },
    names: (host) => hosts.has(canonicalRegistry(host) ?? host),
  };
};

/** Why this is no entry of `registry.allow`; undefined when it is one. */
export const allowEntryProblem = (entry: string): string | undefined => {
  if (entry.includes('://') || entry.includes('@')) return 'must be host or host/path, without scheme, tag or digest';
  if (!/^[a-z0-9.*_:[\]/-]{1,512}$/.test(entry)) return 'must be a lower-case host or host/path';
  const [host = '', ...path] = entry.split('/');
  const last = path.at(-1) === '**' ? path.slice(0, -1) : path;
  if ([host, ...last].some((component) => component === '' || component.split('*').length > 2)) {
    return 'may have one * in the host and in each component of the path, and ** as the last component alone';
  }
  if (path.some((component) => component.includes(':'))) return 'must have no tag';
  if (!host.includes('*') && canonicalRegistry(host) === undefined) return 'has a host that cannot be asked';
  return undefined;
};

/** Does this entry, which has passed `allowEntryProblem`, fit the repository? */
export const entryFits = (entry: string, target: Target): boolean =>
  fits(parseEntry(entry), [target.registry, ...target.repository.split('/')]);

const parseEntry = (entry: string): readonly string[] => {
  const [host = '', ...path] = entry.split('/');
  return [canonicalRegistry(host) ?? host, ...(path.length === 0 ? ['**'] : path)];
};

const fits = (pattern: readonly string[], components: readonly string[]): boolean => {
  const open = pattern.at(-1) === '**';
  const fixed = open ? pattern.slice(0, -1) : pattern;
  if (open ? components.length <= fixed.length : components.length !== fixed.length) return false;
  return fixed.every((component, index) => fitsComponent(component, components[index] ?? ''));
};

const fitsComponent = (pattern: string, value: string): boolean => {
  const [before = '', after] = pattern.split('*');
  if (after === undefined) return pattern === value;
  return value.length >= before.length + after.length && value.startsWith(before) && value.endsWith(after);
};

const notAllowed = ({ registry, repository }: Target): CountersignError =>
  new CountersignError(
    'permission_denied',
    'REGISTRY_NOT_ALLOWED',
    `This service may not use ${registry}/${repository}: registry.allow in its configuration does not list it.`,
    { metadata: { registry, repository } },
  );
