import { z } from 'zod';
import { type FieldViolation, invalidArgument } from '../model/error.ts';
import type { PredicateType } from './port.ts';

/** Any JSON object; null-prototype or not. */
export const jsonObject = z.looseObject({});

/** Text that says something. */
export const text = z.string().min(1, 'must not be empty');

/** An RFC 3339 date and time. */
export const timestamp = z.iso.datetime({ offset: true, error: 'must be an RFC 3339 date and time' });

/** An absolute URI (RFC 3986 section 4.3): a scheme and something after it. */
export const uri = z.string().regex(/^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+$/, 'must be an absolute URI');

/** A digest set: algorithm to hex (in-toto attestation framework, "DigestSet"). */
export const digestSet = z
  .looseObject({})
  .refine((digests) => Object.values(digests).every((digest) => typeof digest === 'string' && digest !== ''), {
    error: 'must map names of algorithms to digests',
  });

/**
 * A predicate type that a schema describes. The schema only checks: the predicate goes into the statement as it came,
 * members that the schema does not know included.
 */
export const structured = (uriOfType: string, aliases: readonly string[], schema: z.ZodType): PredicateType => ({
  uri: uriOfType,
  aliases,
  check: (predicate) => {
    const parsed = schema.safeParse(predicate);
    if (!parsed.success) throw invalidArgument(parsed.error.issues.map(violation));
    return predicate;
  },
});

const violation = (issue: z.core.$ZodIssue): FieldViolation => ({
  field: issue.path.reduce<string>(
    (path, part) => (typeof part === 'number' ? `${path}[${part}]` : `${path}.${String(part)}`),
    'predicate',
  ),
  description: issue.message,
});
