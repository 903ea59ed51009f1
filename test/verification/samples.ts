import { buildStatement } from '../../src/formats/statement.ts';
import { sha256, type Digest } from '../../src/model/digest.ts';
import type { FormatName, Signable } from '../../src/model/signature.ts';
import {
  type Candidate,
  type Question,
  type VerificationKey,
  sealedCandidate,
} from '../../src/verification/question.ts';
import { verifyCandidate } from '../../src/verification/verify.ts';
import { newKey, sealed, type TestKey } from '../formats/made.ts';

export const key = newKey();
export const other = newKey('P-256', 'other');
export const trust = (...keys: readonly TestKey[]): readonly VerificationKey[] =>
  keys.map((each) => ({ ...each, name: each.key }));
export const digest: Digest = `sha256:${'ab'.repeat(32)}`;
export const repository = 'registry.example/acme/app';
export const predicateType = 'https://slsa.dev/provenance/v1';
export const content = Buffer.from('a small blob');

export const image = (annotations: Readonly<Record<string, string>> = {}, of: Digest = digest): Signable => ({
  kind: 'image',
  repository,
  digest: of,
  annotations,
});
export const blob: Signable = { kind: 'blob', name: 'b', digest: sha256(content), content };
export const statementOf = (type: string, of: Digest = digest, annotations = { level: '3' }): Signable => ({
  kind: 'statement',
  predicateType: type,
  digest: of,
  statement: buildStatement({
    subjects: [{ name: repository, digest: of, annotations }],
    predicateType: type,
    predicate: { a: 1 },
    version: 'v0.1',
  }),
});
export const ask = (question: Partial<Question> = {}): Question => ({
  subject: { kind: 'image', digest },
  keys: trust(key),
  expect: { kind: 'signature' },
  annotations: {},
  ...question,
});
export const attestation = { kind: 'attestation', predicateType } as const;
export const blobSubject = { kind: 'blob', digest: sha256(content), content } as const;
export const made = (format: FormatName, signable: Signable, by: TestKey = key): Candidate =>
  sealedCandidate(sealed(format, signable, by));
export const reason = (question: Question, candidate: Candidate): string => verifyCandidate(question, candidate).reason;
export const withJson = (candidate: Candidate, edit: (json: never) => void): Candidate => {
  const json = JSON.parse(Buffer.from(candidate.content).toString());
  edit(json as never);
  return { ...candidate, content: Buffer.from(JSON.stringify(json)) };
};
