import { CountersignError } from '../../model/error.ts';
import { defaultRetryAfterMs } from '../../net/errors.ts';

/** `REGISTRY_CREDENTIAL_UNAVAILABLE`: an exchange or a file; `CREDENTIAL_HELPER_FAILED`: a program. */
export type CredentialReason = 'REGISTRY_CREDENTIAL_UNAVAILABLE' | 'CREDENTIAL_HELPER_FAILED';

/**
 * There is no credential for a registry although one is configured: `unavailable` with a time to try again where that may `pass`, else
 * `failed_precondition`. `why` completes "...: ", and holds nothing that a program, a file or a service said. `cause` is logged.
 */
export const credentialError = (
  reason: CredentialReason,
  host: string,
  why: string,
  more: { readonly passes: boolean; readonly cause?: unknown; readonly retryAfterMs?: number | undefined },
): CountersignError =>
  new CountersignError(
    more.passes ? 'unavailable' : 'failed_precondition',
    reason,
    `There are no credentials for registry ${host}: ${why}.`,
    {
      metadata: { registry: host },
      ...(more.cause === undefined ? {} : { cause: more.cause }),
      ...(more.passes ? { retryAfterMs: more.retryAfterMs ?? defaultRetryAfterMs } : {}),
    },
  );

/** Could a credential not be had? */
export const isCredentialError = (error: unknown): boolean =>
  error instanceof CountersignError &&
  ['REGISTRY_CREDENTIAL_UNAVAILABLE', 'CREDENTIAL_HELPER_FAILED', 'DOCKER_CONFIG_INVALID'].includes(error.reason);

/** What an identity or a request failed with -> the same for the registry; what ended the request stays. */
export const wrapCredentialError = (caught: unknown, host: string, why: string): unknown => {
  if (!(caught instanceof CountersignError) || caught.code === 'cancelled' || caught.code === 'deadline_exceeded') {
    return caught;
  }
  if (caught.reason === 'REGISTRY_CREDENTIAL_UNAVAILABLE') return caught;
  return credentialError('REGISTRY_CREDENTIAL_UNAVAILABLE', host, why, {
    passes: caught.retryAfterMs !== undefined || caught.code === 'unavailable',
    retryAfterMs: caught.retryAfterMs,
    cause: caught,
  });
};
