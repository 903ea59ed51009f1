import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PublicKeySchema } from '../gen/countersign/v1/keys_pb.ts';
import {
  type DecisionSchema,
  Format,
  type KeyVersionSchema,
  StoredAt_Layout,
  type StoredAtSchema,
} from '../gen/countersign/v1/types_pb.ts';
import type { SignedBySchema } from '../gen/countersign/v1/verification_pb.ts';
import type { VersionFacts } from '../keys/port.ts';
import { publicKeyJwk, publicKeyPem } from '../keys/public-key.ts';
import type { Decision, RuleReason } from '../model/decision.ts';
import { type FormatName, type KeyVersion, type StoredAt, signedBy } from '../model/signature.ts';

/** A format in the contract; `unknown` for a signature that could not be read. */
export const formatNumbers: Readonly<Record<FormatName | 'unknown', Format>> = {
  'simple-signing': Format.SIMPLE_SIGNING,
  dsse: Format.DSSE,
  bundle: Format.BUNDLE,
  unknown: Format.UNSPECIFIED,
};

const layouts: Readonly<Record<StoredAt['by'], StoredAt_Layout>> = {
  tag: StoredAt_Layout.TAG,
  referrer: StoredAt_Layout.REFERRER,
  'fallback-tag': StoredAt_Layout.FALLBACK_TAG,
};

export const encodeStoredAt = (stored: StoredAt): MessageInitShape<typeof StoredAtSchema> => ({
  repository: stored.repository,
  digest: stored.digest,
  layout: layouts[stored.by],
  tag: stored.tag ?? '',
});

export const encodeKeyVersion = ({
  key,
  version,
  algorithm,
  hint,
  member,
}: KeyVersion): MessageInitShape<typeof KeyVersionSchema> => ({
  key,
  version,
  algorithm,
  hint,
  member: member ?? '',
});

const encodeReason = ({ rule, effect, misses }: RuleReason) => ({ rule, effect, misses: [...misses] });

/** `withReasons`: one entry a rule, which only Explain shows. */
export const encodeDecision = (decision: Decision, withReasons: boolean): MessageInitShape<typeof DecisionSchema> => ({
  allowed: decision.allowed,
  rule: decision.rule ?? '',
  policyHash: decision.policyHash,
  claims: { ...decision.claims },
  ...(decision.nearest === undefined ? {} : { nearest: encodeReason(decision.nearest) }),
  reasons: withReasons ? decision.reasons.map(encodeReason) : [],
});

/** What is said of a version besides its public key. */
export const encodeVersionFacts = ({ state, createdAt, validFrom, validUntil }: VersionFacts) => ({
  state,
  createdAt: createdAt ?? '',
  validFrom: validFrom ?? '',
  validUntil: validUntil ?? '',
});

/** The public half of one version, as PEM and as JWK text. */
export const encodePublicKey = (key: KeyVersion, facts: VersionFacts): MessageInitShape<typeof PublicKeySchema> => ({
  version: key.version,
  algorithm: key.algorithm,
  pem: publicKeyPem(key.spki),
  jwk: JSON.stringify(publicKeyJwk(key)),
  hint: key.hint,
  ...encodeVersionFacts(facts),
});

/** countersign's own record from the annotations of a verified signature; undefined when they are not there. */
export const encodeSignedBy = (
  annotations: Readonly<Record<string, string>>,
): MessageInitShape<typeof SignedBySchema> | undefined => {
  const read = (name: string): string => (Object.hasOwn(annotations, name) ? (annotations[name] ?? '') : '');
  const issuer = read(signedBy.issuer);
  if (issuer === '') return undefined;
  return {
    issuer,
    subject: read(signedBy.subject),
    rule: read(signedBy.rule),
    policyHash: read(signedBy.policy),
    time: read(signedBy.time),
    auditId: read(signedBy.audit),
  };
};
