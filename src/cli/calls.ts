import { create, fromJson, type JsonValue } from '@bufbuild/protobuf';
import { GetKeyRequestSchema, type Key, KeyService } from '../gen/countersign/v1/keys_pb.ts';
import {
  AttestRequestSchema,
  type AttestResponse,
  SigningService,
  SignRequestSchema,
  type SignResponse,
  SignResponseSchema,
} from '../gen/countersign/v1/signing_pb.ts';
import {
  VerificationService,
  VerifyRequestSchema,
  type VerifyResponse,
} from '../gen/countersign/v1/verification_pb.ts';
import type { ServiceClient } from './client.ts';
import { formatNamed } from './request.ts';

/*
 * Calls about images over plain data, for programs that are clients without a command line: the demo and tests. Errors as
 * `ServiceClient.call`.
 */

export type SignImage = {
  /** A reference, by tag or digest. */
  readonly image: string;
  /** The configured name. */
  readonly key: string;
  /** `bundle`, `simple-signing`, `dsse`; default: what the service is configured for. */
  readonly formats?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** Default: as the contract says. */
  readonly ifAbsent?: boolean;
};

export type AttestImage = Omit<SignImage, 'annotations'> & {
  readonly predicateType: string;
  /** JSON */
  readonly predicate: string;
};

export type VerifyImage = {
  readonly image: string;
  /** Configured names. */
  readonly keys?: readonly string[];
  /** Public keys, PEM. */
  readonly pems?: readonly string[];
  /** An attestation of this type, instead of a signature. */
  readonly predicateType?: string;
};

const subject = (image: string) => ({ kind: { case: 'image' as const, value: image } });

/** Signs an image and stores the signature beside it. */
export const signImage = (client: ServiceClient, call: SignImage): Promise<SignResponse> =>
  client.call(
    SigningService.method.sign,
    create(SignRequestSchema, {
      subject: subject(call.image),
      key: call.key,
      formats: (call.formats ?? []).map(formatNamed),
      annotations: { ...call.annotations },
      ...(call.ifAbsent === undefined ? {} : { ifAbsent: call.ifAbsent }),
    }),
  );

/** Attests an image and stores the attestation beside it. */
export const attestImage = (client: ServiceClient, call: AttestImage): Promise<AttestResponse> =>
  client.call(
    SigningService.method.attest,
    create(AttestRequestSchema, {
      subject: subject(call.image),
      key: call.key,
      formats: (call.formats ?? []).map(formatNamed),
      ...(call.ifAbsent === undefined ? {} : { ifAbsent: call.ifAbsent }),
      predicateType: call.predicateType,
      predicate: new TextEncoder().encode(call.predicate),
    }),
  );

/** Verifies an image by at least one key; a negative verdict is an answer. */
export const verifyImage = (client: ServiceClient, call: VerifyImage): Promise<VerifyResponse> =>
  client.call(
    VerificationService.method.verify,
    create(VerifyRequestSchema, {
      subject: subject(call.image),
      keys: [
        ...(call.keys ?? []).map((name) => ({ source: { case: 'key' as const, value: name } })),
        ...(call.pems ?? []).map((pem) => ({ source: { case: 'pem' as const, value: pem } })),
      ],
      predicateType: call.predicateType ?? '',
    }),
  );

/** A configured key, undefined only if the service broke the contract. */
export const getKey = async (client: ServiceClient, name: string): Promise<Key | undefined> =>
  (await client.call(KeyService.method.getKey, create(GetKeyRequestSchema, { key: name }))).key;

/** What REST answered to a Sign; throws when it is not one. */
export const readSignResponse = (json: JsonValue): SignResponse => fromJson(SignResponseSchema, json);
