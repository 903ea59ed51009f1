// Google Cloud KMS behind a scripted proxy, and the table of what it says when it refuses. Faults of the transport happen to
// the bytes on their way back; what is said and answered is changed in the service of ours, below its encoding.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { protos } from '@google-cloud/kms';
import { status } from '@grpc/grpc-js';
import { crc32c } from '../../../src/codec/crc32c.ts';
import type { Keyring } from '../../../src/keys/keyring.ts';
import type { FakeGcp } from '../../keys/fake-gcp.ts';
import type { Refusal } from '../../keys/fake-gcp-service.ts';
import { alike, type Expected, type FaultWorld, mayPass, refusedFor, type Row, unusable } from './fault-ask.ts';
import { type FaultSubject, faultContract } from './fault-contract.ts';
import { createScript, type FaultProxy, type Json, type Leg } from './fault-script.ts';
import { startTcpProxy } from './fault-tcp.ts';

const said = (name: keyof typeof status, expected: Expected, details = ''): Row<Refusal> => ({
  name: details === '' ? name : `${name}, ${details.slice(0, 50)}`,
  refusal: { code: status[name], details },
  expected,
});
const state = (name: string): string => `current state is: ${name}, which is not enabled`;
const throttled = { code: 'resource_exhausted', reason: 'KEY_THROTTLED', attempts: 3 } as const;
const corrupted = { code: 'data_loss', reason: 'KEY_CHECKSUM_MISMATCH', attempts: 3 } as const;

/**
 * Codes: google/rpc/code.proto, whose comments say which may be retried, and cloud.google.com/kms/docs/reference/rpc/google.rpc.
 * States: CryptoKeyVersionState of google/cloud/kms/v1/resources.proto; that a version that is not enabled is refused with
 * FAILED_PRECONDITION is what Google's own fake does (GoogleCloudPlatform/kms-integrations, fakekms).
 */
const table: readonly Row<Refusal>[] = [
  said('UNAVAILABLE', mayPass),
  said('INTERNAL', mayPass),
  said('UNKNOWN', mayPass),
  said('ABORTED', mayPass),
  said('CANCELLED', mayPass),
  said('DEADLINE_EXCEEDED', mayPass),
  said('RESOURCE_EXHAUSTED', throttled, 'Quota exceeded for quota metric'),
  said('INVALID_ARGUMENT', corrupted, 'invalid digest checksum'),
  said('INVALID_ARGUMENT', refusedFor('KEY_REQUEST_REFUSED'), 'len(digest)=31, want 32'),
  said('FAILED_PRECONDITION', refusedFor('KEY_DISABLED'), state('DISABLED')),
  said('FAILED_PRECONDITION', refusedFor('KEY_PENDING_DELETION'), state('DESTROY_SCHEDULED')),
  said('FAILED_PRECONDITION', refusedFor('KEY_DESTROYED'), state('DESTROYED')),
  said('FAILED_PRECONDITION', refusedFor('KEY_PENDING'), state('PENDING_GENERATION')),
  said('FAILED_PRECONDITION', refusedFor('KEY_INVALID_STATE')),
  said('NOT_FOUND', refusedFor('KEY_NOT_FOUND')),
  said('PERMISSION_DENIED', refusedFor('KEY_ACCESS_DENIED')),
  said('UNAUTHENTICATED', refusedFor('KEY_ACCESS_DENIED')),
  said('ALREADY_EXISTS', refusedFor('KEY_REQUEST_REFUSED')),
  said('OUT_OF_RANGE', refusedFor('KEY_REQUEST_REFUSED')),
  said('UNIMPLEMENTED', refusedFor('KEY_REQUEST_REFUSED')),
  said('DATA_LOSS', unusable()),
];

const operations = { sign: 'AsymmetricSign', open: 'GetPublicKey' } as const;
const messages = protos.google.cloud.kms.v1;
const encoded = (leg: Leg, answer: Json): Buffer => {
  const type = leg === 'sign' ? messages.AsymmetricSignResponse : messages.PublicKey;
  return Buffer.from(type.encode(type.fromObject(answer) as never).finish());
};
/** More than the client takes, and than it is told to take by default (4 MiB). */
const tooMuch = 5 * 1024 * 1024;
const flooded = (leg: Leg, answer: Json): Json =>
  leg === 'sign' ? { ...answer, signature: Buffer.alloc(tooMuch) } : { ...answer, pem: ' '.repeat(tooMuch) };

/** The proxy before a service of ours that is used by one test. */
export const startGcpProxy = async (kms: FakeGcp): Promise<FaultProxy<Refusal> & { readonly endpoint: string }> => {
  const script = createScript<Refusal>();
  const tcp = await startTcpProxy(Number(new URL(kms.endpoint).port));
  const meet = (leg: Leg, answer: Json): Json | Refusal | Buffer => {
    const fault = script.next(leg);
    if (fault === undefined) return answer;
    switch (fault.kind) {
      case 'redirect':
        return answer;
      case 'refusal':
        return fault.refusal;
      case 'rewrite':
        return fault.change(answer) as Json;
      case 'garble':
        return fault.change(encoded(leg, answer));
      case 'flood':
        return flooded(leg, answer);
      default:
        tcp.arm(fault);
        return answer;
    }
  };
  for (const leg of ['sign', 'open'] as const) kms.fail(operations[leg], (answer) => meet(leg, answer) as never);
  return {
    endpoint: `http://127.0.0.1:${tcp.port}`,
    inject: script.inject,
    count: script.count,
    followed: () => 0,
    heal: () => {
      script.clear();
      tcp.heal();
    },
    close: tcp.close,
  };
};

const checksum = (bytes: Uint8Array) => ({ value: `${crc32c(bytes)}` });
const withPem = (answer: Json, change: (pem: string) => string): Json => {
  const pem = change(String(answer['pem']));
  return { ...answer, pem, pemCrc32c: checksum(Buffer.from(pem)) };
};
const pemOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();

export type GcpBackend = {
  startKms(): Promise<FakeGcp>;
  openRing(endpoint: string, key: string): Keyring;
};

export const gcpFaults = (label: string, { startKms, openRing }: GcpBackend): void => {
  const start: FaultSubject<Refusal>['start'] = async (t): Promise<FaultWorld<Refusal>> => {
    const kms = await startKms();
    t.after(kms.close);
    const { name, versions } = kms.createKey();
    const proxy = await startGcpProxy(kms);
    t.after(proxy.close);
    const [version] = versions;
    if (version === undefined) throw new Error('no version');
    const publicKey = createPublicKey(version.privateKey);
    return { proxy, openRing: () => openRing(proxy.endpoint, name), publicKey, secrets: [] };
  };
  faultContract<Refusal>({
    label,
    start,
    encoding: 'der',
    withSignature: (answer, change) => {
      const signature = change(answer['signature'] as Buffer);
      return { ...answer, signature, signatureCrc32c: checksum(signature) };
    },
    lies: {
      'another version': {
        change: (answer) => ({ ...answer, name: `${answer['name']}0` }),
        expected: unusable('KEY_VERSION_MISMATCH'),
      },
      'no version': { change: (answer) => ({ ...answer, name: '' }), expected: unusable('KEY_VERSION_MISMATCH') },
      'another protection level': {
        change: (answer) => ({ ...answer, protectionLevel: 'HSM' }),
        expected: unusable('KEY_PROTECTION_MISMATCH'),
      },
      'a signature with the checksum of another': {
        change: (answer) => ({ ...answer, signatureCrc32c: checksum(Buffer.of(1)) }),
        expected: corrupted,
      },
      'a signature without a checksum': {
        change: (answer) => ({ ...answer, signatureCrc32c: null }),
        expected: corrupted,
      },
      'a request whose checksum was not looked at': {
        change: (answer) => ({ ...answer, verifiedDigestCrc32c: false }),
        expected: corrupted,
      },
    },
    wrongKeys: {
      truncated: { change: (answer) => withPem(answer, (pem) => pem.slice(0, 60)), expected: unusable() },
      'of another curve': { change: (answer, other) => withPem(answer, () => pemOf(other)), expected: unusable() },
      'of another key': {
        change: (answer, other) => withPem(answer, () => pemOf(other)),
        expected: unusable('BAD_SIGNATURE'),
      },
    },
    garbage: { bytes: ['', '<html>', '{', '\0', '\x0a\xff'], ...alike(unusable()) },
    flood: alike({ code: 'unavailable', reason: 'RESPONSE_TOO_LARGE', attempts: 1 }),
    table,
  });
};
