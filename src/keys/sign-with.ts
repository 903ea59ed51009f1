import type { Context } from '../model/context.ts';
import type { HeldKey } from './key-source.ts';

/** Where a request takes its key from; `failed`: the members of a group that it has tried. */
export type KeyHolder = {
  hold(name: string, context: Context, failed?: ReadonlySet<string>): Promise<HeldKey>;
};

/**
 * Runs `work` with the key, and again with the next member of a group when the key of the one before failed; `onFailover` is
 * told each such failure before the next member is taken. Throws what `hold` and the last `work` throw.
 */
export const signWith = async <T>(
  keys: KeyHolder,
  name: string,
  context: Context,
  work: (held: HeldKey) => Promise<T>,
  onFailover: (caught: unknown) => Promise<void> = async () => {},
): Promise<T> => {
  let failed: Set<string> | undefined;
  for (;;) {
    const held = await keys.hold(name, context, failed);
    try {
      return await work(held);
    } catch (caught) {
      if (!held.failsOver(caught)) throw caught;
      failed ??= new Set();
      failed.add(held.member);
      await onFailover(caught);
    } finally {
      held.release();
    }
  }
};
