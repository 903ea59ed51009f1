import type { GetKeyRequest } from '../gen/countersign/v1/keys_pb.ts';
import { GetKeyRequestSchema } from '../gen/countersign/v1/keys_pb.ts';
import {
  type AttestRequest,
  AttestRequestSchema,
  type ExplainAttest,
  type ExplainRequest,
  ExplainRequestSchema,
  type SignRequest,
  SignRequestSchema,
} from '../gen/countersign/v1/signing_pb.ts';
import {
  type TrustedKey as TrustedKeyMessage,
  type VerifyRequest,
  VerifyRequestSchema,
} from '../gen/countersign/v1/verification_pb.ts';
import { parsePublicKeyPem } from '../keys/public-key.ts';
import type { AttestCommand, SignCommand, TrustedKey, VerifyCommand } from '../model/command.ts';
import { type FieldViolation, invalidArgument } from '../model/error.ts';
import type { FormatName } from '../model/signature.ts';
import type { Subject } from '../model/subject.ts';
import {
  collect,
  decodeAnnotations,
  decodeFormats,
  decodeRecursive,
  decodeRepository,
  decodeStorage,
  decodeSubject,
} from './decode-fields.ts';
import { violationsOf } from './validation.ts';

/** What Explain asks about: a Sign, or an Attest without its predicate. */
export type ExplainCommand = SignCommand | Omit<AttestCommand, 'predicate'>;

/** Throws when anything is wrong; after it a subject that validation let through is there. */
const settled = (subject: Subject | undefined, violations: readonly FieldViolation[]): Subject => {
  if (violations.length > 0) throw invalidArgument(violations);
  if (subject === undefined) throw invalidArgument([{ field: 'subject', description: 'is required' }]);
  return subject;
};

const below = (prefix: string, violations: readonly FieldViolation[]): FieldViolation[] =>
  prefix === '' ? [...violations] : violations.map((each) => ({ ...each, field: `${prefix}.${each.field}` }));

/** Why a format cannot carry a signature. */
const refuseForSign =
  (subject: Subject | undefined) =>
  (format: FormatName): string | undefined => {
    if (format === 'dsse') return 'FORMAT_DSSE is for Attest; take FORMAT_BUNDLE or FORMAT_SIMPLE_SIGNING';
    if (format === 'simple-signing' && subject !== undefined && subject.kind !== 'image') {
      return 'FORMAT_SIMPLE_SIGNING is for images; take FORMAT_BUNDLE for a blob';
    }
    return undefined;
  };

const refuseForAttest = (format: FormatName): string | undefined =>
  format === 'simple-signing' ? 'FORMAT_SIMPLE_SIGNING is for Sign; take FORMAT_BUNDLE or FORMAT_DSSE' : undefined;

const signCommand = (message: SignRequest, found: readonly FieldViolation[], prefix = ''): SignCommand => {
  const violations: FieldViolation[] = [...found];
  const subject = decodeSubject(message.subject, violations);
  const formats = decodeFormats(message.formats, violations, refuseForSign(subject));
  const annotations = decodeAnnotations(message.annotations, subject, violations);
  const storage = decodeStorage(message.storage, subject, violations);
  const recursive = decodeRecursive(message, subject, violations);
  return {
    subject: settled(subject, below(prefix, violations)),
    key: message.key,
    formats,
    annotations,
    storage,
    ifAbsent: message.ifAbsent ?? true,
    recursive,
  };
};

const noAnnotations: Readonly<Record<string, string>> = Object.freeze(Object.create(null));

const attestCommand = (
  message: AttestRequest | ExplainAttest,
  found: readonly FieldViolation[],
  prefix = '',
): Omit<AttestCommand, 'predicate'> => {
  const violations: FieldViolation[] = [...found];
  const subject = decodeSubject(message.subject, violations);
  const formats = decodeFormats(message.formats, violations, refuseForAttest);
  const storage = decodeStorage(message.storage, subject, violations);
  const recursive = 'recursive' in message ? decodeRecursive(message, subject, violations) : undefined;
  return {
    subject: settled(subject, below(prefix, violations)),
    key: message.key,
    formats,
    annotations: noAnnotations,
    storage,
    ifAbsent: ('ifAbsent' in message ? message.ifAbsent : undefined) ?? false,
    recursive,
    predicateType: message.predicateType,
  };
};

/** All decoders: message -> command; throw `invalid_argument` that names every bad field. */
export const decodeSign = (message: SignRequest): SignCommand =>
  signCommand(message, violationsOf(SignRequestSchema, message));

/** `predicate` is a view of the request's bytes. */
export const decodeAttest = (message: AttestRequest): AttestCommand => ({
  ...attestCommand(message, violationsOf(AttestRequestSchema, message)),
  predicate: message.predicate,
});

export const decodeExplain = (message: ExplainRequest): ExplainCommand => {
  const { request } = message;
  const found = violationsOf(ExplainRequestSchema, message);
  // The paths of validation already begin at the ExplainRequest; those of the inner request get the same prefix.
  const inner = found.map((each) => ({ ...each, field: each.field.replace(/^(?:sign|attest)\./, '') }));
  if (request.case === 'sign') return signCommand(request.value, inner, 'sign');
  if (request.case === 'attest') return attestCommand(request.value, inner, 'attest');
  throw invalidArgument(found);
};

const trustedKey = (message: TrustedKeyMessage, field: string, violations: FieldViolation[]): TrustedKey[] => {
  const { source } = message;
  if (source.case === 'key') return [{ kind: 'configured', name: source.value }];
  if (source.case !== 'pem') return [];
  const pem = source.value;
  collect(violations, () => parsePublicKeyPem(pem, field));
  return [{ kind: 'pem', pem }];
};

/** `provided` and the blob's content are views of the request's bytes. */
export const decodeVerify = (message: VerifyRequest): VerifyCommand => {
  const violations = violationsOf(VerifyRequestSchema, message);
  const subject = decodeSubject(message.subject, violations);
  const isImage = subject === undefined || subject.kind === 'image';
  const keys = message.keys.flatMap((key, index) => trustedKey(key, `keys[${index}].pem`, violations));
  const repository = decodeRepository(message.repository, 'repository', isImage, violations);
  return {
    subject: settled(subject, violations),
    keys,
    expect:
      message.predicateType === ''
        ? { kind: 'signature' }
        : { kind: 'attestation', predicateType: message.predicateType },
    annotations: Object.assign(Object.create(null), message.annotations),
    provided: message.signatures,
    repository,
  };
};

export const decodeGetKey = (message: GetKeyRequest): string => {
  const violations = violationsOf(GetKeyRequestSchema, message);
  if (violations.length > 0) throw invalidArgument(violations);
  return message.key;
};
