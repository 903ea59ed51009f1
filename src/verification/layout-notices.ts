import type { SignatureVerdict } from '../model/verdict.ts';
import { signPredicateType } from '../formats/statement.ts';
import type { Question } from './question.ts';

/**
 * What a caller should know of an image that carries both layouts: cosign (3.x) reads the bundles alone where there are any, and
 * older ones the tags alone. Verify counts both.
 */
export const layoutNotices = (question: Question, signatures: readonly SignatureVerdict[]): readonly string[] => {
  const { expect, subject } = question;
  if (subject.kind !== 'image') return [];
  const what = expect.kind === 'signature' ? 'signatures' : 'attestations';
  const stored = signatures.filter((each) => each.storedAt !== undefined && isWanted(each, expect.kind));
  const tags = stored.filter(({ storedAt }) => storedAt?.by === 'tag');
  const bundles = stored.filter(({ storedAt }) => storedAt?.by !== 'tag');
  if (tags.length === 0 || bundles.length === 0) return [];
  const [inTags, inBundles] = [tags, bundles].map((each) => each.some(({ counts }) => counts));
  const both = `The image carries ${what} in both layouts, tag and bundle.`;
  if (inTags === inBundles) return [both];
  return [
    inTags
      ? `${both} Only one at the tag counts: cosign 3, which reads the bundles alone where there are any, refuses the image.`
      : `${both} Only a bundle counts: who reads the tag alone, as cosign 2, refuses the image.`,
  ];
};

const isWanted = ({ format, predicateType }: SignatureVerdict, kind: 'signature' | 'attestation'): boolean => {
  if (format === 'simple-signing') return kind === 'signature';
  if (format === 'dsse') return kind === 'attestation';
  return format === 'bundle' && (predicateType === signPredicateType) === (kind === 'signature');
};
