import { CountersignError } from '../model/error.ts';

/** The most bytes of one stored signature that are parsed (security.md section 7: attachments). */
export const maxSignatureBytes = 16 * 1024 * 1024;

/** The deepest JSON nesting of a stored signature or statement. */
export const maxSignatureDepth = 64;

/** A stored signature that is not what its media type says. */
export const malformed = (what: 'BUNDLE' | 'ENVELOPE' | 'PAYLOAD' | 'STATEMENT', detail: string): CountersignError =>
  new CountersignError('invalid_argument', `MALFORMED_${what}`, `The ${what.toLowerCase()} is malformed: ${detail}.`);

/** The format cannot carry this kind of thing. */
export const notApplicable = (format: string, kind: string, instead: string): CountersignError =>
  new CountersignError(
    'invalid_argument',
    'FORMAT_NOT_APPLICABLE',
    `Format ${format} cannot carry ${kind === 'image' ? 'an' : 'a'} ${kind}; ${instead}.`,
  );
