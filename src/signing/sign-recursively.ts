import type { Context } from '../model/context.ts';
import type { Question } from '../model/decision.ts';
import { CountersignError, toCountersignError } from '../model/error.ts';
import type { SignResult } from '../model/result.ts';
import type { Nested } from '../registry/nested.ts';
import { mapParallel } from '../registry/places.ts';
import { openTrail } from './audited.ts';
import { authorize } from './authorize.ts';
import type { SigningPorts } from './ports.ts';
import { placesOf } from './report-failure.ts';
import type { Target } from './target.ts';

type ImageTarget = Extract<Target, { kind: 'image' }>;
type Tried = { readonly digest: string; readonly result: SignResult | CountersignError };

/** As many digests as an error names. */
const maxNamed = 50;

/** Signs one target, or with `recursive` an index and every manifest below it (`signRecursively`). Errors as both. */
export const signBelow = (
  target: Target,
  recursive: { readonly platforms: readonly string[] } | undefined,
  signOne: (target: Target) => Promise<SignResult>,
  question: Question,
  context: Context,
  ports: SigningPorts,
): Promise<SignResult> =>
  recursive === undefined || target.kind === 'blob'
    ? signOne(target)
    : signRecursively(target, recursive.platforms, signOne, question, context, ports);

/**
 * Signs an index and every manifest below it, of the platforms that are asked for (none: all), several at once. The index is
 * resolved once and comes last, so that what it lists is signed when it is. All are signed, or the error names those that are not.
 *
 * @param signOne signs one image by its digest, with its own audit records.
 * @throws what `signOne` threw first, with `missing` and `stored` in its metadata; `not_found`, reason PLATFORM_NOT_FOUND.
 */
const signRecursively = async (
  target: ImageTarget,
  platforms: readonly string[],
  signOne: (target: Target) => Promise<SignResult>,
  question: Question,
  context: Context,
  ports: SigningPorts,
): Promise<SignResult> => {
  const decision = await authorize(question, context, ports);
  const lookBelow = async () => {
    const image = await ports.registry.resolve(target.reference, context);
    return { image, below: ofPlatforms(await ports.registry.nested(image, context), platforms) };
  };
  const { image, below } = await lookBelow().catch(async (caught: unknown) => {
    await openTrail(ports.audit, question, decision, context).failed(toCountersignError(caught), []);
    throw caught;
  });
  const at = (digest: Nested['descriptor']['digest']): ImageTarget => ({
    ...target,
    reference: { ...target.reference, tag: undefined, digest },
  });
  const tried = await mapParallel(below, ({ descriptor }) => attempt(at(descriptor.digest), signOne, context));
  const nested = below.flatMap(({ platform }, index) => {
    const result = tried[index]?.result;
    if (result === undefined || result instanceof CountersignError) return [];
    const { digest, outputs, key, auditId, notices } = result;
    return [{ platform, digest, outputs, key, auditId, notices }];
  });
  const failed = tried.some(({ result }) => result instanceof CountersignError);
  const top = failed ? undefined : await attempt(at(image.descriptor.digest), signOne, context);
  if (top?.result === undefined || top.result instanceof CountersignError) {
    throw incomplete(image.descriptor.digest, top === undefined ? tried : [...tried, top]);
  }
  return { ...top.result, nested };
};

const attempt = async (
  target: ImageTarget,
  signOne: (target: Target) => Promise<SignResult>,
  context: Context,
): Promise<Tried> => {
  const digest = target.reference.digest ?? '';
  try {
    // What has not begun when the request ends is not begun any more.
    if (context.signal.aborted) throw context.signal.reason;
    return { digest, result: await signOne(target) };
  } catch (caught) {
    return { digest, result: toCountersignError(caught) };
  }
};

/** An index within the index belongs to whatever it lists, so it is signed with any of it. */
const ofPlatforms = (all: readonly Nested[], platforms: readonly string[]): readonly Nested[] => {
  if (platforms.length === 0) return all;
  const absent = platforms.filter((wanted) => !all.some(({ platform }) => platform === wanted));
  if (absent.length > 0) {
    const there = [...new Set(all.flatMap(({ platform }) => platform ?? []))].slice(0, maxNamed).join(', ');
    throw new CountersignError(
      'not_found',
      'PLATFORM_NOT_FOUND',
      `The index holds no manifest for ${absent.join(', ')}; it has ${there === '' ? 'none with a platform' : there}.`,
      { metadata: { platforms: absent.join(',') } },
    );
  }
  return all.filter(({ platform }) => platform !== undefined && platforms.includes(platform));
};

const incomplete = (index: string, tried: readonly Tried[]): CountersignError => {
  const failures = tried.filter((each) => each.result instanceof CountersignError);
  const first = failures[0]?.result;
  const cause = first instanceof CountersignError ? first : toCountersignError(undefined);
  const stored = tried.flatMap(({ result }) =>
    result instanceof CountersignError ? (result.metadata.stored ?? []) : placesOf(result.outputs),
  );
  // The index is signed only after all that it lists, so it is missing as well.
  const missing = [...new Set([...failures.map(({ digest }) => digest), index])];
  const named = missing.slice(0, maxNamed).join(', ');
  const message =
    `Not all of it was signed. ${cause.message} Missing: ${named}${missing.length > maxNamed ? ' ...' : ''}.` +
    (stored.length === 0 ? '' : ` Already stored: ${stored.slice(0, maxNamed).join(', ')}.`);
  return new CountersignError(cause.code, cause.reason, message, {
    ...(cause.retryAfterMs === undefined ? {} : { retryAfterMs: cause.retryAfterMs }),
    violations: cause.violations,
    metadata: {
      ...cause.metadata,
      missing: missing.slice(0, maxNamed).join(','),
      ...(stored.length === 0 ? {} : { stored: stored.slice(0, maxNamed).join(',') }),
    },
    cause: cause.cause ?? cause,
  });
};
