import type { KeyVersion, Sealed, Signable, ToSign } from '../model/signature.ts';
import { sealedCandidate } from '../verification/question.ts';
import { verifyCandidate } from '../verification/verify.ts';

/**
 * Verifies what was just sealed by the steps of Verify; answers what is wrong with it, or undefined. The keyring has
 * verified `signature` over `toSign`, so what must be shown is that exactly these bytes come out again.
 */
export const verifySealed = (
  sealed: Sealed,
  signable: Signable,
  version: KeyVersion,
  toSign: ToSign,
  signature: Uint8Array,
): string | undefined => {
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
      verified: { toSign, signature },
    },
    sealedCandidate(sealed),
  );
  return verdict.counts ? undefined : `${verdict.reason}: ${verdict.message}`;
};
