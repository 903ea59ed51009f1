import type { Context } from '../model/context.ts';
import { type Digest, sha256 } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { repositoryName } from '../model/subject.ts';
import { mayHaveHappened, withStored } from './errors.ts';
import type { Manifests } from './manifests.ts';
import type { Target } from './target.ts';
import type { Transport } from './transport.ts';

/** Pushes manifests by digest, so that it is known what became of them. Safe to call concurrently. */
export type CertainPut = {
  /**
   * Pushes, as often as the settings allow, and looks whether it is there when the registry only seems to have failed. Did the
   * registry say `OCI-Subject`? Throws as `Manifests.put`; where it cannot be told whether the manifest was stored, the error
   * names it in its metadata (`stored`).
   */
  put(
    target: Target,
    manifest: { readonly mediaType: string; readonly body: Uint8Array },
    context: Context,
  ): Promise<boolean>;
};

export const createCertainPut = (transport: Transport, manifests: Manifests): CertainPut => {
  /** Undefined: it cannot be told. */
  const isThere = async (target: Target, digest: Digest, context: Context): Promise<boolean | undefined> => {
    try {
      return (await manifests.get(target, digest, context)) !== undefined;
    } catch {
      return undefined;
    }
  };

  return {
    put: async (target, manifest, context) => {
      const digest = sha256(manifest.body);
      try {
        const outcome = await transport.retried(target, context, () =>
          manifests.put(target, digest, manifest, undefined, context),
        );
        return outcome.kind === 'stored' && outcome.subject;
      } catch (error) {
        if (!mayHaveHappened(error)) throw error;
        // What is said to have been stored as something else is not to be trusted, whatever can be read.
        const lies = error instanceof CountersignError && error.code === 'data_loss';
        const there = lies ? undefined : await isThere(target, digest, context);
        if (there === true) return false;
        if (there === false) throw error;
        const place = `${repositoryName(target)}@${digest}`;
        throw withStored(error, place, `The signature may have been stored as ${place}, which could not be found out.`);
      }
    },
  };
};
