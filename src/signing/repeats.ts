import type { Context } from '../model/context.ts';
import type { SignResult } from '../model/result.ts';
import { waitFor } from '../model/wait.ts';
import { createCache } from '../registry/cache.ts';

/** Which requests of one caller, or of several, are the same. */
export type Repeat = {
  /** Of what is to be made, whoever asks: equal requests take turns, so that the second finds what the first has made. */
  readonly work: string;
  /** Of one caller's request, by the id that it chose; undefined when it chose none. */
  readonly request: string | undefined;
};

/** Remembers answers, and lets equal requests take turns. Safe to call concurrently. */
export type Repeats = {
  /**
   * Runs `work`, or `again` with the answer that this very request got before. Failures are not remembered. Throws what they
   * throw, and the context's reason when it ends while another is at work.
   */
  run(
    repeat: Repeat,
    context: Context,
    work: () => Promise<SignResult>,
    again: (before: SignResult) => Promise<SignResult>,
  ): Promise<SignResult>;
};

const maxBytes = 32 * 1024 * 1024;
const rememberedForMs = 60 * 60_000;
/** What an answer weighs besides its signatures. */
const baseWeight = 2_000;

const weigh = ({ outputs, nested }: SignResult): number =>
  [{ outputs }, ...nested]
    .flatMap((each) => each.outputs)
    .reduce((sum, { sealed }) => sum + sealed.content.byteLength + 500, baseWeight);

/** 32 MiB of answers, an hour each. */
export const createRepeats = (): Repeats => {
  const answered = createCache<SignResult>(maxBytes, weigh);
  const busy = new Map<string, Promise<unknown>>();
  return {
    run: async ({ work: key, request }, context, work, again) => {
      for (let other = busy.get(key); other !== undefined; other = busy.get(key)) {
        await waitFor(
          other.catch(() => undefined),
          context,
        );
      }
      const before = request === undefined ? undefined : answered.get(request);
      if (before !== undefined) return again(before);
      const working = work();
      busy.set(key, working);
      try {
        const result = await working;
        if (request !== undefined) answered.set(request, result, rememberedForMs);
        return result;
      } finally {
        busy.delete(key);
      }
    },
  };
};
