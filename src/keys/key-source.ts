import type { Context } from '../model/context.ts';
import type { CountersignError } from '../model/error.ts';
import type { ToSign } from '../model/signature.ts';
import type { KeyDescription } from './port.ts';
import type { Haste, SignOutcome, Signer } from './signer.ts';
import type { Slot } from './slot.ts';

/** A key in the hand of one request: the same version from the first signature to the last. Release it once. */
export type HeldKey = {
  readonly description: KeyDescription;
  /** Its configured name; of a group, the member that signs. */
  readonly member: string;
  /** In order, each verified. Rejects only when nothing was tried. */
  signMany(toSigns: readonly ToSign[], context: Context, haste?: Haste): Promise<readonly SignOutcome[]>;
  sign(toSign: ToSign, context: Context, haste?: Haste): Promise<Uint8Array>;
  /** Is there another member that may do what failed with this error? Then this one is passed over for a while. */
  failsOver(error: unknown): boolean;
  release(): void;
};

/** Where keys of one configured name come from: one key, or a group of them. */
export type KeySource = {
  readonly name: string;
  /** `failed`: members that this request has tried. */
  hold(context: Context, failed: ReadonlySet<string>): Promise<HeldKey>;
  describe(context: Context): Promise<KeyDescription>;
  /** Asks the backend again now. */
  reopen(context: Context): Promise<void>;
  close(): Promise<void>;
};

export const singleKey = (name: string, slot: Slot, signer: Signer): KeySource => ({
  name,
  hold: (context) =>
    slot.hold(context).then((key) => ({
      description: key.description,
      member: name,
      sign: (toSign, asked, haste) => signer.sign(key, toSign, asked, haste),
      signMany: (toSigns, asked, haste) => signer.signMany(key, toSigns, asked, haste),
      failsOver: () => false,
      release: () => slot.release(key),
    })),
  describe: async (context) => withProblem((await slot.get(context)).description, slot.problem()),
  reopen: async (context) => void (await slot.reopen(context)),
  close: async () => {
    signer.close();
    await slot.close();
  },
});

/** A key that signs although the backend could not be asked again: said, so that it can be mended in time. */
const withProblem = (description: KeyDescription, problem: CountersignError | undefined): KeyDescription =>
  problem === undefined ? description : { ...description, problem: problem.message };
