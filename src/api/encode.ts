import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type GetKeyResponse,
  GetKeyResponseSchema,
  type KeySchema,
  type ListKeysResponse,
  ListKeysResponseSchema,
} from '../gen/countersign/v1/keys_pb.ts';
import {
  type AttestResponse,
  AttestResponseSchema,
  type ExplainResponse,
  ExplainResponseSchema,
  type SignResponse,
  SignResponseSchema,
} from '../gen/countersign/v1/signing_pb.ts';
import {
  type SignatureVerdictSchema,
  type VerifyResponse,
  VerifyResponseSchema,
} from '../gen/countersign/v1/verification_pb.ts';
import type { KeyDescription } from '../keys/port.ts';
import type { Caller } from '../model/caller.ts';
import type { Decision } from '../model/decision.ts';
import type { NestedResult, SignResult, StoredSignature } from '../model/result.ts';
import type { SignatureVerdict, Verdict } from '../model/verdict.ts';
import {
  encodeDecision,
  encodeKeyVersion,
  encodePublicKey,
  encodeSignedBy,
  encodeStoredAt,
  encodeVersionFacts,
  formatNumbers,
} from './encode-fields.ts';
import type { KeyListing } from './service.ts';

const output = ({ sealed, stored, existing }: StoredSignature) => ({
  format: formatNumbers[sealed.format],
  mediaType: sealed.mediaType,
  content: sealed.content,
  signature: sealed.signature,
  existing,
  ...(stored === undefined ? {} : { stored: encodeStoredAt(stored) }),
});

const signed = (result: SignResult, requestId: string) => ({
  digest: result.digest,
  name: result.name,
  outputs: result.outputs.map(output),
  key: encodeKeyVersion(result.key),
  decision: encodeDecision(result.decision, false),
  auditId: result.auditId,
  requestId,
  notices: [...result.notices],
});

const nested = ({ digest, platform, outputs, key: version, auditId, notices }: NestedResult) => ({
  digest,
  platform: platform ?? '',
  outputs: outputs.map(output),
  key: encodeKeyVersion(version),
  auditId,
  notices: [...notices],
});

/** All encoders: result, caller, request id -> message. Pure. */
export const encodeSign = (result: SignResult, _caller: Caller, requestId: string): SignResponse =>
  create(SignResponseSchema, { ...signed(result, requestId), nested: result.nested.map(nested) });

export const encodeAttest = (result: SignResult, _caller: Caller, requestId: string): AttestResponse =>
  create(AttestResponseSchema, {
    ...signed(result, requestId),
    predicateType: result.predicateType ?? '',
    nested: result.nested.map(nested),
  });

/** Shows every rule's reasons and who the caller is taken for. */
export const encodeExplain = (decision: Decision, caller: Caller, requestId: string): ExplainResponse =>
  create(ExplainResponseSchema, {
    decision: encodeDecision(decision, true),
    caller: { issuer: caller.issuer, subject: caller.subject },
    requestId,
  });

const signatureVerdict = (verdict: SignatureVerdict): MessageInitShape<typeof SignatureVerdictSchema> => {
  const by = encodeSignedBy(verdict.annotations);
  return {
    counts: verdict.counts,
    reason: verdict.reason,
    message: verdict.message,
    format: formatNumbers[verdict.format],
    mediaType: verdict.mediaType,
    ...(verdict.storedAt === undefined ? {} : { stored: encodeStoredAt(verdict.storedAt) }),
    key: verdict.key ?? '',
    keyHint: verdict.keyHint ?? '',
    predicateType: verdict.predicateType ?? '',
    annotations: { ...verdict.annotations },
    ...(by === undefined ? {} : { signedBy: by }),
    ...(verdict.statement === undefined ? {} : { statement: verdict.statement }),
    steps: verdict.steps.map(({ name, passed, detail }) => ({ name, passed, detail })),
  };
};

export const encodeVerify = (verdict: Verdict, _caller: Caller, requestId: string): VerifyResponse =>
  create(VerifyResponseSchema, {
    verified: verdict.verified,
    summary: verdict.summary,
    digest: verdict.digest,
    signatures: verdict.signatures.map(signatureVerdict),
    requestId,
    notices: [...verdict.notices],
  });

const key = (
  name: string,
  description: KeyDescription | undefined,
  problem: string,
): MessageInitShape<typeof KeySchema> => {
  if (description === undefined) return { name, problem };
  const { signing, versions, opaque } = description;
  const listed = versions.find(({ version }) => version === signing.version);
  return {
    name,
    backend: description.backend,
    protectionLevel: description.protectionLevel,
    signing: encodePublicKey(signing, listed ?? { state: 'enabled', createdAt: undefined }),
    versions: [
      ...versions.map((version) => encodePublicKey(version, version)),
      ...opaque.map((version) => ({ version: version.version, ...encodeVersionFacts(version) })),
    ],
    problem: problem === '' ? (description.problem ?? '') : problem,
    origin: description.origin,
    evidence: { ...description.evidence },
    checkedAt: description.checkedAt,
    members: description.members?.map((member) => ({ ...member })) ?? [],
  };
};

export const encodeListKeys = (
  listings: readonly KeyListing[],
  _caller: Caller,
  requestId: string,
): ListKeysResponse => {
  const keys = listings.map(({ name, description, problem }) => key(name, description, problem));
  return create(ListKeysResponseSchema, { keys, requestId });
};

export const encodeGetKey = (description: KeyDescription, _caller: Caller, requestId: string): GetKeyResponse =>
  create(GetKeyResponseSchema, { key: key(description.name, description, ''), requestId });
