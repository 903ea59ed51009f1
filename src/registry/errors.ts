import { repositoryName } from '../model/subject.ts';
import { CountersignError } from '../model/error.ts';
import { defaultRetryAfterMs } from '../net/errors.ts';
import type { HttpResponse } from '../net/port.ts';
import { parseRetryAfter } from '../net/retry.ts';
import type { Target } from './target.ts';

const maxErrorBytes = 64 * 1024;

/** `failed_precondition`: the registry does not let us in. */
export const accessDenied = (target: Target, why: string): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'REGISTRY_ACCESS_DENIED',
    `Registry ${target.registry} denied access to ${target.repository}: ${why}.`,
    { metadata: { registry: target.registry, repository: target.repository } },
  );

/** `data_loss`: what came is not what was asked for. */
export const dataLoss = (target: Target, what: string): CountersignError =>
  new CountersignError('data_loss', 'DIGEST_MISMATCH', `${repositoryName(target)}: ${what}.`, {
    metadata: { registry: target.registry, repository: target.repository },
  });

/** `unavailable`: an answer that the distribution specification does not know. */
export const malformed = (target: Target, what: string): CountersignError =>
  new CountersignError('unavailable', 'REGISTRY_RESPONSE_INVALID', `${repositoryName(target)}: ${what}.`, {
    metadata: { registry: target.registry, repository: target.repository },
  });

/** `unavailable`: a registry that contradicts itself, which may pass where it is eventually consistent. */
export const inconsistent = (target: Target, what: string): CountersignError => {
  const { code, reason, message, metadata } = malformed(target, what);
  return new CountersignError(code, reason, message, { metadata, retryAfterMs: defaultRetryAfterMs });
};

/** `failed_precondition`: what lies there cannot be used or added to. */
export const unusable = (target: Target, reason: string, what: string): CountersignError =>
  new CountersignError('failed_precondition', reason, `${repositoryName(target)}: ${what}.`, {
    metadata: { registry: target.registry, repository: target.repository },
  });

/**
 * The error for a status that the caller of the registry did not expect. `doing` completes "could not ...". Of the body only
 * the registry's error code is shown: the rest is text that anybody may have written.
 */
export const statusError = (response: HttpResponse, target: Target, doing: string): CountersignError => {
  const { status } = response;
  const code = errorCode(response.body);
  const metadata = {
    registry: target.registry,
    repository: target.repository,
    status: String(status),
    ...(code === undefined ? {} : { registryCode: code }),
  };
  const said = `status ${status}${code === undefined ? '' : `, ${code}`}`;
  const message = `Could not ${doing} in ${repositoryName(target)}: the registry answered ${said}.`;
  const told = parseRetryAfter(response.headers['retry-after'], new Date());

  if (status === 401 || status === 403) {
    const fix = 'Check the credentials that the service has for it (registry.dockerConfig, registry.credentials).';
    return new CountersignError('failed_precondition', 'REGISTRY_ACCESS_DENIED', `${message} ${fix}`, { metadata });
  }
  if (status === 404) return new CountersignError('not_found', 'REGISTRY_NOT_FOUND', message, { metadata });
  if (status === 429) {
    return new CountersignError('resource_exhausted', 'REGISTRY_THROTTLED', message, {
      metadata,
      retryAfterMs: told ?? 1_000,
    });
  }
  if (status === 408 || status >= 500) {
    return new CountersignError('unavailable', 'REGISTRY_UNAVAILABLE', message, {
      metadata,
      retryAfterMs: told ?? defaultRetryAfterMs,
    });
  }
  return new CountersignError(
    status >= 400 ? 'failed_precondition' : 'unavailable',
    status >= 400 ? 'REGISTRY_REFUSED' : 'REGISTRY_RESPONSE_INVALID',
    message,
    { metadata },
  );
};

/** `errors[0].code` of the specification's error body, if it looks like one. */
const errorCode = (body: Uint8Array): string | undefined => {
  if (body.byteLength === 0 || body.byteLength > maxErrorBytes) return undefined;
  const code = /^\s*\{\s*"errors"\s*:\s*\[\s*\{[^{}[\]]*?"code"\s*:\s*"([A-Z_]{1,64})"/.exec(
    Buffer.from(body).toString('latin1'),
  );
  return code?.[1];
};

/** Others wrote the tag again after each of `tries` writes. */
export const tagContended = (target: Target, tag: string, tries: number): CountersignError =>
  new CountersignError(
    'unavailable',
    'TAG_CONTENDED',
    `Tag ${tag} of ${repositoryName(target)} was overwritten by others after every one of ${tries} tries; try again.`,
    { retryAfterMs: 1_000, metadata: { registry: target.registry, repository: target.repository, tag } },
  );

/** May a write that failed so have happened all the same? Not where the registry answered that it refuses it. */
export const mayHaveHappened = (error: unknown): boolean =>
  !(error instanceof CountersignError) ||
  ['unavailable', 'deadline_exceeded', 'cancelled', 'data_loss', 'internal'].includes(error.code);

/** The same failure, saying in `metadata.stored` (`host/path@digest`) and in words what it leaves behind. */
export const withStored = (error: unknown, stored: string, said: string): unknown =>
  error instanceof CountersignError
    ? new CountersignError(error.code, error.reason, `${error.message} ${said}`, {
        cause: error,
        metadata: { ...error.metadata, stored },
        ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
      })
    : error;
