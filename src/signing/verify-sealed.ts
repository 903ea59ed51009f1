import type { KeyVersion, Sealed, Signable } from '../model/signature.ts';
import { sealedCandidate } from '../verification/question.ts';
import { verifyCandidate } from '../verification/verify.ts';

/** Verifies what was just sealed exactly as a caller of Verify would; answers what is wrong with it, or undefined. */
export const verifySealed = (sealed: Sealed, signable: Signable, version: KeyVersion): string | undefined => {
  const verdict = verifyCandidate(
    {
      subject:
        signable.kind === 'blob'
          ? { kind: 'blob', digest: signable.digest, content: signable.content }
          : { kind: 'image', digest: signable.digest },
      keys: [{ ...version, name: version.key }],
      expect:
        signable.kind === 'statement'
          ? { kind: 'attestation', predicateType: signable.predicateType }
          : { kind: 'signature' },
      annotations: signable.kind === 'image' ? signable.annotations : {},
    },
    sealedCandidate(sealed),
  );
  return verdict.counts ? undefined : `${verdict.reason}: ${verdict.message}`;
};
