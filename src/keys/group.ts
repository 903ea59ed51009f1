import { type Context, openContext, remainingMs } from '../model/context.ts';
import { CountersignError, toCountersignError } from '../model/error.ts';
import { waitFor } from '../model/wait.ts';
import { recordKeyFailover } from '../telemetry/metrics.ts';
import type { GroupSettings } from './group-settings.ts';
import type { HeldKey, KeySource } from './key-source.ts';
import { createMembers } from './members.ts';
import type { KeyDescription, ListedVersion } from './port.ts';
import type { Haste } from './signer.ts';

/** Failures of a key, not of the request or of whom it goes to: another key may do better. */
const isKeyFailure = ({ code, reason }: CountersignError): boolean =>
  ['unavailable', 'resource_exhausted', 'failed_precondition', 'data_loss'].includes(code) &&
  (reason.startsWith('KEY_') ||
    reason === 'BAD_SIGNATURE' ||
    reason === 'PROTECTION_LEVEL' ||
    reason === 'FIPS_REFUSED');

/** A member may use half of the time that is left while there is another to try; the last one all of it. */
const sliceOf = (context: Context, isLast: boolean): { context: Context; dispose(): void } => {
  if (isLast) return { context, dispose: () => {} };
  const owned = openContext(context.requestId, remainingMs(context) / 2);
  const end = (): void => owned.cancel();
  context.signal.addEventListener('abort', end, { once: true });
  const { caller } = context;
  return {
    context: caller === undefined ? owned.context : { ...owned.context, caller },
    dispose: () => {
      context.signal.removeEventListener('abort', end);
      owned.dispose();
    },
  };
};

const hasteOf = (isLast: boolean): Haste => (isLast ? 'patient' : 'hurried');

/** What work with a member fails with; a slice that ran out is the member's failure, not the request's. */
const inSlice = async <T>(
  context: Context,
  isLast: boolean,
  member: string,
  work: (slice: Context) => Promise<T>,
): Promise<T> => {
  const slice = sliceOf(context, isLast);
  try {
    // A backend that does not heed the signal must not use up what is left for the next.
    return await (isLast ? work(slice.context) : waitFor(work(slice.context), slice.context));
  } catch (caught) {
    if (context.signal.aborted || !slice.context.signal.aborted) throw caught;
    throw new CountersignError('unavailable', 'KEY_TIMEOUT', `Key ${member} did not answer in time.`, {
      cause: caught,
    });
  } finally {
    slice.dispose();
  }
};

/**
 * Several keys under one name. A request gets the first member that is up, in the configured order or by weight; one that
 * fails is passed over and tried again in the background, and the request may take the next. Members have the same public
 * key unless the configuration says otherwise: the first member that opened sets it.
 */
export const createGroup = (settings: GroupSettings, sources: readonly KeySource[]): KeySource => {
  const { name, differentPublicKeys } = settings;
  const members = createMembers(
    settings.members.map(({ weight }, index) => {
      const source = sources[index];
      if (source === undefined) throw new Error(`group ${name} lacks a member`);
      return { source, weight };
    }),
  );
  /** The public key of the first member, in the order of the configuration, that was opened. */
  let agreed: { readonly member: string; readonly hint: string } | undefined;

  const assertSameKey = (member: string, description: KeyDescription): void => {
    const { hint } = description.signing;
    if (agreed === undefined || agreed.member === member || members.before(member, agreed.member)) {
      agreed = { member, hint };
    } else if (!differentPublicKeys && hint !== agreed.hint) {
      throw new CountersignError(
        'failed_precondition',
        'KEY_MEMBERS_DIFFER',
        `Key ${member} has another public key than ${agreed.member}, and both stand for ${name}: configure copies of one key, ` +
          'or say differentPublicKeys: true.',
        { metadata: { key: name, member } },
      );
    }
  };

  const fail = (member: string, error: CountersignError): void => {
    members.down(member, error);
    recordKeyFailover(name, member);
  };

  const holdMember = async (source: KeySource, context: Context, isLast: boolean): Promise<HeldKey> => {
    const held = await inSlice(context, isLast, source.name, (slice) => source.hold(slice, new Set()));
    try {
      assertSameKey(source.name, held.description);
    } catch (caught) {
      held.release();
      throw caught;
    }
    return held;
  };

  const asGroup = (held: HeldKey, isLast: boolean): HeldKey => ({
    description: named(held.description, name, held.member),
    member: held.member,
    sign: (toSign, context) =>
      inSlice(context, isLast, held.member, (slice) => held.sign(toSign, slice, hasteOf(isLast))),
    signMany: (toSigns, context) =>
      inSlice(context, isLast, held.member, (slice) => held.signMany(toSigns, slice, hasteOf(isLast))),
    failsOver: (caught) => {
      const error = toCountersignError(caught);
      if (!isKeyFailure(error)) return false;
      fail(held.member, error);
      return !isLast;
    },
    release: () => held.release(),
  });

  return {
    name,
    hold: async (context, failed) => {
      const tried = new Set(failed);
      const errors: string[] = [];
      for (;;) {
        const source = members.pick(tried);
        if (source === undefined) throw allFailed(name, errors);
        tried.add(source.name);
        const isLast = tried.size === members.count;
        try {
          return asGroup(await holdMember(source, context, isLast), isLast);
        } catch (caught) {
          const error = toCountersignError(caught);
          if (!isKeyFailure(error)) throw error;
          fail(source.name, error);
          errors.push(`${source.name}: ${error.message}`);
        }
      }
    },
    describe: async (context) => {
      const outcomes = await Promise.all(
        members.sources.map((source) =>
          source.describe(context).then(
            (description) => ({ source, description, error: undefined }),
            (caught: unknown) => ({ source, description: undefined, error: toCountersignError(caught) }),
          ),
        ),
      );
      const [first] = outcomes.flatMap(({ description }) => (description === undefined ? [] : [description]));
      if (first === undefined) {
        throw allFailed(
          name,
          outcomes.map(({ source, error }) => `${source.name}: ${error?.message ?? ''}`),
        );
      }
      const inForce = members.pick(new Set())?.name;
      const signing = outcomes.find(({ source, description }) => source.name === inForce && description !== undefined);
      const main = signing?.description ?? first;
      return {
        ...named(main, name, main.name),
        versions: distinct(
          outcomes
            .flatMap(({ description }) => description?.versions ?? [])
            .map((version) => ({ ...version, key: name })),
        ),
        members: outcomes.map(({ source, description, error }) => ({
          name: source.name,
          hint: description?.signing.hint ?? '',
          problem: error?.message ?? members.problem(source.name)?.message ?? '',
        })),
      };
    },
    reopen: async (context) => {
      await Promise.all(members.sources.map((source) => source.reopen(context)));
    },
    close: async () => members.close(),
  };
};

/** A member's description as the group's: what verifies names the key that callers know. */
const named = (description: KeyDescription, name: string, member: string): KeyDescription => ({
  ...description,
  name,
  signing: { ...description.signing, key: name, member },
});

const distinct = (versions: readonly ListedVersion[]): readonly ListedVersion[] =>
  [...new Map(versions.toReversed().map((version) => [version.hint, version])).values()].toReversed();

const allFailed = (name: string, errors: readonly string[]): CountersignError =>
  new CountersignError('unavailable', 'KEY_GROUP_DOWN', `No member of key ${name} can sign now: ${errors.join(' ')}`, {
    retryAfterMs: 1_000,
    metadata: { key: name },
  });
