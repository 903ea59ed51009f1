import { CountersignError } from '../../model/error.ts';
import { toNetworkError } from '../../net/errors.ts';
import {
  awsGarbage,
  causeOf,
  endpointUnknown,
  member,
  refused,
  regionMissing,
  staleCredentials,
  statusOf,
  throttles,
  toError,
  transientMs,
} from './errors.ts';

const networkCode = /^(?:ECONN|ENOTFOUND|EAI_AGAIN|EHOST|ENET|ETIMEDOUT|EPIPE)/;

/** The code of the system, else the name that AWS or the SDK gave. */
const whyOf = (error: Error): string => {
  const code = member(error, 'code');
  return typeof code === 'string' ? code : error.name;
};

/** May it pass by itself? */
const passes = (error: Error): boolean =>
  throttles.has(error.name) ||
  (statusOf(error) ?? 0) >= 500 ||
  error.name === 'TimeoutError' ||
  networkCode.test(whyOf(error));

/**
 * Whatever the SDK threw while it looked for credentials -> `unavailable` where that may pass, or `KEY_ACCESS_DENIED`. Of
 * what was thrown only the name is kept, unless a service of AWS said it: a credential process may quote its secrets.
 */
export const awsCredentialsError = (kms: string, caught: unknown): unknown => {
  if (!(caught instanceof Error) || caught instanceof CountersignError) return caught;
  const why = whyOf(caught);
  const cause = member(caught, '$fault') === undefined ? new Error(`AWS credentials: ${why}`) : causeOf(caught);
  if (passes(caught)) {
    const message = `The source of the AWS credentials for ${kms} cannot answer now (${why}).`;
    return toError(['unavailable', 'KEY_UNAVAILABLE', message, transientMs], cause);
  }
  const message =
    `There are no AWS credentials for ${kms} (${why}): give the service a role (Pod Identity, web identity, instance ` +
    'profile), a profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.';
  return toError(refused('KEY_ACCESS_DENIED', message), cause);
};

const refusals: Readonly<Record<string, string>> = {
  RegionDisabledException: 'STS is not activated in the region for the account: activate it, or set another region',
  ValidationError: "check role.durationSeconds: at most the role's MaxSessionDuration, and one hour from role to role",
};

/** Why STS did not give a role, and the fix. */
const refusalOf = (arn: string, name: string): string => {
  if (name === 'AccessDenied' || name === 'AccessDeniedException') {
    return (
      `AWS STS denies the service the role ${arn}: the policy of the service's own identity must allow sts:AssumeRole on ` +
      'the role, and the trust policy of the role that identity, with role.externalId where it asks for sts:ExternalId.'
    );
  }
  if (staleCredentials.has(name)) {
    return (
      `AWS STS does not accept the credentials with which the role ${arn} is to be taken (${name}): renew them, and check ` +
      'the clock of the machine.'
    );
  }
  const why = Object.hasOwn(refusals, name) ? `: ${refusals[name]}` : '';
  return `AWS STS does not give the service the role ${arn} (${name})${why}.`;
};

/**
 * Whatever the SDK threw while it took a role -> `unavailable` where that may pass, or `failed_precondition`:
 * `KEY_ACCESS_DENIED` with the role named, `KEY_REGION_MISSING`, `KEY_ENDPOINT_UNKNOWN`; `data_loss` for an answer without
 * credentials.
 */
export const awsRoleError = (arn: string, caught: unknown): unknown => {
  if (!(caught instanceof Error) || caught instanceof CountersignError) return caught;
  const fault = member(caught, '$fault') !== undefined;
  const why = whyOf(caught);
  if (!fault && ((statusOf(caught) ?? 300) < 300 || caught.name === 'CredentialsProviderError')) {
    return awsGarbage('AWS STS', `no credentials of the role ${arn}`);
  }
  if (passes(caught)) {
    const host = String(member(caught, 'hostname') ?? 'AWS STS');
    const words = fault || caught.name === 'TimeoutError' ? '' : ` ${toNetworkError(caught, host).message}`;
    const message = `AWS STS cannot give the service the role ${arn} now (${why}).${words}`;
    return toError(['unavailable', 'KEY_UNAVAILABLE', message, transientMs], fault ? causeOf(caught) : caught);
  }
  if (fault || statusOf(caught) !== undefined) {
    return toError(refused('KEY_ACCESS_DENIED', refusalOf(arn, caught.name)), causeOf(caught));
  }
  if (/^Region is missing/.test(caught.message)) return regionMissing(caught);
  if (caught.name === 'EndpointError') return endpointUnknown('AWS STS', caught);
  return typeof member(caught, 'code') === 'string'
    ? toError(['unavailable', 'KEY_UNAVAILABLE', `AWS STS cannot be reached: ${why}.`], caught)
    : caught;
};
