import { CountersignError } from '../model/error.ts';
import type { Context } from '../model/context.ts';
import { repositoryName } from '../model/subject.ts';
import { createCache } from './cache.ts';
import { unusable } from './errors.ts';
import type { Pushed, StoredManifest } from './manifest.ts';
import type { Condition, Manifests, PutOutcome } from './manifests.ts';
import type { Target } from './target.ts';

/**
 * What became of a write to a tag. `guarded`: stored, and the registry is known to have refused it had the tag held anything
 * else than what was read. `unguarded`: stored over whatever lay there. `changed`: not stored, something else lies there.
 */
export type TagWrite = 'guarded' | 'unguarded' | 'changed';

/** Writes to tags, conditional (RFC 9110 sections 13.1.1 and 13.1.2) where the registry honours it. Safe to call concurrently. */
export type ConditionalPut = {
  /**
   * Pushes once. `current` is what was read at the tag. Throws as `Manifests.put`; `failed_precondition`, reason
   * `TAG_IMMUTABLE`, when the registry refuses (412) to overwrite the tag at all.
   */
  put(
    target: Target,
    tag: string,
    next: Pushed,
    current: StoredManifest | undefined,
    context: Context,
  ): Promise<TagWrite>;
  /** Are conditions known to be honoured in that repository? */
  honoured(target: Target): boolean;
  /** Something happened that cannot happen where they are honoured: nothing is taken for guarded there for ten minutes. */
  contradict(target: Target): void;
};

const honouredForMs = 60 * 60_000;
const ignoredForMs = 10 * 60_000;
const absent: Condition = { ifNoneMatch: '*' };
/** No registry's entity tag. */
const wrong: Condition = { ifMatch: '"countersign-asks-whether-you-look-at-this"' };

/**
 * Whether conditions are honoured is learnt with the first write to a repository, from conditions that do not hold. A
 * registry that ignores them takes the first of these for the write itself, so asking overwrites nothing that the write would
 * not have overwritten. An `ETag` in an answer proves nothing: distribution sends one and looks at no condition.
 */
export const createConditionalPut = (manifests: Manifests): ConditionalPut => {
  const honours = createCache<boolean>(10_000);

  const probe: ConditionalPut['put'] = async (target, tag, next, current, context) => {
    const name = repositoryName(target);
    for (const [condition, expected] of questions(current)) {
      const outcome = await askedWith(condition, () => manifests.put(target, tag, next, condition, context));
      if (outcome === expected) continue;
      if (outcome === 'changed') return 'changed';
      honours.set(name, false, ignoredForMs);
      return outcome === 'stored' ? 'unguarded' : plainly(target, tag, next, context);
    }
    honours.set(name, true, honouredForMs);
    return 'guarded';
  };

  const plainly = async (target: Target, tag: string, next: Pushed, context: Context): Promise<TagWrite> => {
    const { kind } = await manifests.put(target, tag, next, undefined, context);
    if (kind === 'stored') return 'unguarded';
    throw unusable(
      target,
      'TAG_IMMUTABLE',
      `the registry does not let tag ${tag} be overwritten (status 412); leave tags like it out of what is immutable, or sign as bundles where the registry lists referrers`,
    );
  };

  return {
    put: async (target, tag, next, current, context) => {
      const known = honours.get(repositoryName(target));
      const holds = conditionOf(current);
      if (known === false || holds === undefined) return plainly(target, tag, next, context);
      if (known === undefined) return probe(target, tag, next, current, context);
      const { kind } = await manifests.put(target, tag, next, holds, context);
      return kind === 'stored' ? 'guarded' : 'changed';
    },
    honoured: (target) => honours.get(repositoryName(target)) === true,
    contradict: (target) => honours.set(repositoryName(target), false, ignoredForMs),
  };
};

/**
 * Conditions in turn, and what becomes of them where they are honoured: for a tag that is there two that do not hold and one
 * that does, for one that is not there the same around its creation.
 */
const questions = (current: StoredManifest | undefined): readonly [Condition, PutOutcome['kind']][] => {
  const holds = conditionOf(current);
  if (holds === undefined) return [];
  return current === undefined
    ? [
        [wrong, 'changed'],
        [absent, 'stored'],
        [absent, 'changed'],
      ]
    : [
        [wrong, 'changed'],
        [absent, 'changed'],
        [holds, 'stored'],
      ];
};

/** Undefined where there is none: no `ETag`, or a weak one, which never matches (RFC 9110 section 13.1.1). */
const conditionOf = (current: StoredManifest | undefined): Condition | undefined => {
  if (current === undefined) return absent;
  const { etag } = current;
  return etag === undefined || etag.startsWith('W/') ? undefined : { ifMatch: etag };
};

/** `refused`: the registry cannot do with the condition that does not hold. */
const askedWith = async (
  condition: Condition,
  put: () => Promise<PutOutcome>,
): Promise<PutOutcome['kind'] | 'refused'> => {
  try {
    return (await put()).kind;
  } catch (error) {
    const clueless = ['REGISTRY_REFUSED', 'REGISTRY_NOT_FOUND'];
    if (condition === wrong && error instanceof CountersignError && clueless.includes(error.reason)) return 'refused';
    throw error;
  }
};
