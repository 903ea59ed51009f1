import type { Caller } from './caller.ts';
import type { FormatName } from './signature.ts';

export type Verb = 'sign' | 'attest' | 'verify' | 'read-key';

/** Everything a policy decision may depend on. No network, no clock: the same question has the same answer. */
export type Question = {
  readonly caller: Caller;
  readonly verb: Verb;
  /** The configured name of the key; undefined for a Verify by a public key that the caller brings. */
  readonly key: string | undefined;
  /** `host/path` of an image, or the name of a blob; undefined for `read-key`. */
  readonly subject:
    | {
        readonly kind: 'repository' | 'blob';
        readonly name: string;
        /** A blob of which only the digest is known: nobody has seen what it is. */
        readonly unseen?: boolean;
      }
    | undefined;
  /** `host/path` where signatures go when that is not the image's own repository. */
  readonly storageRepository: string | undefined;
  /** Only for `attest` (and `verify` of attestations). */
  readonly predicateType: string | undefined;
  readonly formats: readonly FormatName[];
  readonly annotations: Readonly<Record<string, string>>;
};

/** One condition that did not hold: `claims.ref`, wanted `refs/tags/*`, had `refs/heads/main`. */
export type Miss = { readonly condition: string; readonly wanted: string; readonly had: string };

/** Why one rule did or did not decide. */
export type RuleReason = { readonly rule: string; readonly effect: 'allow' | 'deny'; readonly misses: readonly Miss[] };

/** The answer to a Question, with its reasons. */
export type Decision = {
  readonly allowed: boolean;
  /** The rule that allowed or denied; undefined when no rule matched (default deny). */
  readonly rule: string | undefined;
  /** `sha256:` over the policy in force. */
  readonly policyHash: string;
  /** The claims that the deciding rule looked at, as text: what the audit log keeps. */
  readonly claims: Readonly<Record<string, string>>;
  /** The rule that came nearest, when none matched, and what it missed. */
  readonly nearest: RuleReason | undefined;
  /** One entry a rule, in file order. */
  readonly reasons: readonly RuleReason[];
};
