import { CountersignError, toCountersignError } from '../model/error.ts';
import type { StoredSignature } from '../model/result.ts';
import type { AuditTrail } from './audited.ts';

/** Writes the `failed` record and names in the error what was already stored: nothing half-made stays unreported. */
export const reportFailure = async (
  caught: unknown,
  outputs: readonly StoredSignature[],
  trail: AuditTrail,
): Promise<CountersignError> => {
  const error = toCountersignError(caught);
  await trail.failed(error, outputs);
  const stored = placesOf(outputs);
  if (stored.length === 0) return error;
  // The registry may have told of one more: stored, but not listed.
  const unlisted = error.metadata.stored === undefined ? [] : [error.metadata.stored];
  return new CountersignError(error.code, error.reason, `${error.message} Already stored: ${stored.join(', ')}.`, {
    violations: error.violations,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    metadata: { ...error.metadata, stored: [...stored, ...unlisted].join(',') },
    cause: error.cause ?? error,
  });
};

/** `host/path@digest` of what this request has stored. */
export const placesOf = (outputs: readonly StoredSignature[]): readonly string[] =>
  outputs.flatMap(({ stored, existing }) =>
    stored === undefined || existing ? [] : [`${stored.repository}@${stored.digest}`],
  );
