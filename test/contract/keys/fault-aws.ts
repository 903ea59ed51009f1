// AWS KMS behind the scripted proxy, an emulator or ours, and the table of what it says when it refuses.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { openKeyring } from '../../../src/keys/keyring.ts';
import { keySettings } from '../../../src/keys/settings.ts';
import { alike, type FaultWorld, mayPass, refusedFor, type Row, unusable } from './fault-ask.ts';
import { type FaultSubject, faultContract } from './fault-contract.ts';
import { httpGarbage, page, quoted } from './fault-http.ts';
import { type Asked, type HttpAnswer, type HttpRefusal, startHttpProxy } from './fault-proxy.ts';
import type { Json, Leg } from './fault-script.ts';

export type AwsBackend = {
  readonly endpoint: string;
  readonly region: string;
  /** Of an ECC_NIST_P256 key. */
  readonly arn: string;
  /** PEM. */
  readonly publicKey: string;
  /** Of the environment. */
  readonly secrets: readonly string[];
};

const said = (type: string, message = '', status = 400): HttpAnswer => ({
  status,
  headers: { 'content-type': 'application/x-amz-json-1.1' },
  body: { __type: type, message },
});
const throttled = { code: 'resource_exhausted', reason: 'KEY_THROTTLED', attempts: 3 } as const;

/**
 * Names and statuses: docs.aws.amazon.com/kms/latest/APIReference, "Errors" of Sign, GetPublicKey and DescribeKey, and "Common
 * errors"; @aws-sdk/client-kms 3.1162.0 has the same in its models. States: developer guide, "Key states of AWS KMS keys".
 */
const table: readonly Row<HttpRefusal>[] = [
  { name: '400 ThrottlingException', refusal: said('ThrottlingException', 'Rate exceeded'), expected: throttled },
  { name: '400 Throttling', refusal: said('Throttling', 'Rate exceeded'), expected: throttled },
  { name: '429 of a proxy', refusal: page(429), expected: throttled },
  { name: '500 KMSInternalException', refusal: said('KMSInternalException', '', 500), expected: mayPass },
  { name: '500 KeyUnavailableException', refusal: said('KeyUnavailableException', '', 500), expected: mayPass },
  { name: '503 DependencyTimeoutException', refusal: said('DependencyTimeoutException', '', 503), expected: mayPass },
  { name: '500 InternalFailure', refusal: said('InternalFailure', '', 500), expected: mayPass },
  { name: '503 ServiceUnavailable', refusal: said('ServiceUnavailable', '', 503), expected: mayPass },
  { name: '502 of a proxy', refusal: page(502), expected: mayPass },
  { name: '503 of a proxy', refusal: page(503), expected: mayPass },
  { name: '504 of a proxy', refusal: page(504), expected: mayPass },
  {
    name: '400 DisabledException',
    refusal: said('DisabledException', 'arn is disabled.'),
    expected: refusedFor('KEY_DISABLED'),
  },
  {
    name: '400 pending deletion',
    refusal: said('KMSInvalidStateException', 'arn is pending deletion.'),
    expected: refusedFor('KEY_PENDING_DELETION'),
  },
  {
    name: '400 pending import',
    refusal: said('KMSInvalidStateException', 'arn is pending import.'),
    expected: refusedFor('KEY_PENDING_IMPORT'),
  },
  {
    name: '400 in some other state',
    refusal: said('KMSInvalidStateException'),
    expected: refusedFor('KEY_INVALID_STATE'),
  },
  { name: '400 NotFoundException', refusal: said('NotFoundException'), expected: refusedFor('KEY_NOT_FOUND') },
  {
    name: '400 AccessDeniedException',
    refusal: said('AccessDeniedException', 'User: arn:aws:iam::111122223333:user/x is not authorized'),
    expected: refusedFor('KEY_ACCESS_DENIED'),
  },
  {
    name: '400 AccessDeniedException that quotes the request',
    refusal: (asked: Asked) => said('AccessDeniedException', quoted(asked)),
    expected: refusedFor('KEY_ACCESS_DENIED'),
  },
  {
    name: '400 InvalidKeyUsageException',
    refusal: said('InvalidKeyUsageException'),
    expected: refusedFor('KEY_UNSUPPORTED'),
  },
  {
    name: '400 UnsupportedOperationException',
    refusal: said('UnsupportedOperationException'),
    expected: refusedFor('KEY_UNSUPPORTED'),
  },
  {
    name: '400 ValidationException',
    refusal: said('ValidationException'),
    expected: refusedFor('KEY_REQUEST_REFUSED'),
  },
  { name: '400 without a name', refusal: { status: 400, body: {} }, expected: refusedFor('KEY_REQUEST_REFUSED') },
  { name: '403 of a proxy', refusal: page(403), expected: refusedFor('KEY_REQUEST_REFUSED') },
  // Read anew once, since they may have expired: two attempts.
  ...['ExpiredTokenException', 'UnrecognizedClientException', 'InvalidSignatureException'].map((type) => ({
    name: `400 ${type}`,
    refusal: said(type),
    expected: { ...refusedFor('KEY_ACCESS_DENIED'), attempts: 2 },
  })),
];

const legOf = ({ headers }: Asked): Leg | undefined => {
  const operation = headers['x-amz-target'];
  if (operation === 'TrentService.Sign') return 'sign';
  return operation === 'TrentService.GetPublicKey' ? 'open' : undefined;
};

const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
const withBytes = (answer: Json, name: string, change: (bytes: Buffer) => Buffer): Json => ({
  ...answer,
  [name]: change(Buffer.from(String(answer[name]), 'base64')).toString('base64'),
});

export const awsSettings = (endpoint: string, { region, arn }: AwsBackend) =>
  keySettings.parse({ name: 'subject', kind: 'aws', endpoint, region, arn });

export const awsProxy = ({ endpoint }: AwsBackend) => startHttpProxy({ target: endpoint, legOf });

/** `backend` is asked for when a test starts. */
export const awsFaults = (label: string, backend: () => AwsBackend, skip: string | false = false): void => {
  const start: FaultSubject<HttpRefusal>['start'] = async (t): Promise<FaultWorld<HttpRefusal>> => {
    const proxy = await awsProxy(backend());
    t.after(proxy.close);
    return {
      proxy,
      openRing: () => openKeyring([awsSettings(proxy.origin, backend())]),
      publicKey: createPublicKey(backend().publicKey),
      secrets: backend().secrets,
    };
  };
  faultContract<HttpRefusal>({
    label,
    skip,
    start,
    encoding: 'der',
    withSignature: (answer, change) => withBytes(answer, 'Signature', change),
    lies: {
      'another key signed': {
        change: (answer) => ({ ...answer, KeyId: String(answer['KeyId']).replace(/\w+$/, '000000000000') }),
        expected: unusable('KEY_VERSION_MISMATCH'),
      },
      'the id alone': {
        change: (answer) => ({ ...answer, KeyId: String(answer['KeyId']).split('/').at(-1) }),
        expected: unusable('KEY_VERSION_MISMATCH'),
      },
      'another algorithm signed': {
        change: (answer) => ({ ...answer, SigningAlgorithm: 'ECDSA_SHA_384' }),
        expected: unusable(),
      },
      'no base64': { change: (answer) => ({ ...answer, Signature: '%%%' }), expected: unusable() },
      'no text': { change: (answer) => ({ ...answer, Signature: 7 }), expected: unusable() },
    },
    wrongKeys: {
      truncated: {
        change: (answer) => withBytes(answer, 'PublicKey', (bytes) => bytes.subarray(0, 60)),
        expected: unusable(),
      },
      'of another curve': {
        change: (answer, other) => withBytes(answer, 'PublicKey', () => spki(other)),
        expected: unusable(),
      },
      'of another key': {
        change: (answer, other) => withBytes(answer, 'PublicKey', () => spki(other)),
        expected: unusable('BAD_SIGNATURE'),
      },
    },
    garbage: httpGarbage,
    flood: alike({ code: 'unavailable', reason: 'RESPONSE_TOO_LARGE', attempts: 1 }),
    redirect: refusedFor('KEY_REQUEST_REFUSED'),
    table,
  });
};
