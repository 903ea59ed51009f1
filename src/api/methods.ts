import type {
  DescMessage,
  DescMethod,
  DescMethodServerStreaming,
  DescMethodUnary,
  Message,
  MessageShape,
} from '@bufbuild/protobuf';
import type { JsonValue } from '../codec/strict-json.ts';
import { KeyService } from '../gen/countersign/v1/keys_pb.ts';
import { type SignBatchRequest, SigningService } from '../gen/countersign/v1/signing_pb.ts';
import { VerificationService } from '../gen/countersign/v1/verification_pb.ts';
import type { Caller } from '../model/caller.ts';
import type { Context } from '../model/context.ts';
import type { CountersignError } from '../model/error.ts';
import type { BatchCommand, BatchOutcome, BatchTerms } from '../signing/sign-batch.ts';
import type { PartSummary } from './conclude.ts';
import { decodeBatch, decodeBatchJson } from './decode-batch.ts';
import { decodeAttest, decodeExplain, decodeGetKey, decodeSign, decodeVerify } from './decode.ts';
import { encodeAttest, encodeExplain, encodeGetKey, encodeListKeys, encodeSign, encodeVerify } from './encode.ts';
import { encodeBatchEnd, encodeBatchOutcome, summarizeBatchOutcome } from './encode-batch.ts';
import type { Service } from './service.ts';

/** The services of the contract, as both edges, reflection and health show them. */
export const services = [SigningService, VerificationService, KeyService] as const;

/** How a request becomes a command. Both throw `invalid_argument` that names every bad field. */
export type Decoder<Command> = {
  readonly desc: { readonly input: DescMessage };
  decode(message: Message): Command;
  /** In place of `decode`, for JSON that is not read as one message, so that a part of it may be bad. */
  decodeJson?(value: JsonValue): Command;
};

/** One method of the contract: message -> command -> result -> message. Both edges serve exactly these and `streamMethods`. */
export type Method<Command = unknown, Result = unknown> = Decoder<Command> & {
  /** `Sign`: what logs, spans and metrics call it. */
  readonly name: string;
  readonly desc: DescMethodUnary;
  call(service: Service, command: Command, caller: Caller, context: Context): Result | Promise<Result>;
  encode(result: Result, caller: Caller, requestId: string): Message;
};

type Steps<Input extends DescMessage, Output extends DescMessage, Command, Result> = {
  decode(message: MessageShape<Input>): Command;
  call(service: Service, command: Command, caller: Caller, context: Context): Result | Promise<Result>;
  encode(result: Result, caller: Caller, requestId: string): MessageShape<Output>;
};

/** A method that answers in parts: message -> command -> parts -> a message each. */
export type StreamMethod<Command = unknown, Part = unknown> = Decoder<Command> & {
  readonly name: string;
  readonly desc: DescMethodServerStreaming;
  call(service: Service, command: Command, caller: Caller, context: Context, terms: BatchTerms): AsyncIterable<Part>;
  encode(part: Part, caller: Caller): Message;
  summary(part: Part): PartSummary;
  /** The message that ends a stream early, where the transport has no other way to say why. */
  last(error: CountersignError, requestId: string): Message;
};

/** Ties three functions to a method, with its types checked. A method's message always has the type of its input. */
const method = <Input extends DescMessage, Output extends DescMessage, Command, Result>(
  desc: DescMethod & DescMethodUnary<Input, Output>,
  steps: Steps<Input, Output, Command, Result>,
): Method<Command, Result> => ({ name: desc.name, desc, ...steps });

export const methods: readonly Method[] = [
  method(SigningService.method.sign, {
    decode: decodeSign,
    call: (service, command, caller, context) => service.sign(command, caller, context),
    encode: encodeSign,
  }),
  method(SigningService.method.attest, {
    decode: decodeAttest,
    call: (service, command, caller, context) => service.attest(command, caller, context),
    encode: encodeAttest,
  }),
  method(SigningService.method.explain, {
    decode: decodeExplain,
    call: (service, command, caller) => service.explain(command, caller),
    encode: encodeExplain,
  }),
  method(VerificationService.method.verify, {
    decode: decodeVerify,
    call: (service, command, caller, context) => service.verify(command, caller, context),
    encode: encodeVerify,
  }),
  method(KeyService.method.listKeys, {
    decode: () => undefined,
    call: (service, _command, caller, context) => service.listKeys(caller, context),
    encode: encodeListKeys,
  }),
  method(KeyService.method.getKey, {
    decode: decodeGetKey,
    call: (service, name, caller, context) => service.getKey(name, caller, context),
    encode: encodeGetKey,
  }),
];

const signBatch: StreamMethod<BatchCommand, BatchOutcome> = {
  name: SigningService.method.signBatch.name,
  desc: SigningService.method.signBatch,
  // A method's message always has the type of its input.
  decode: (message) => decodeBatch(message as SignBatchRequest),
  decodeJson: decodeBatchJson,
  call: (service, command, caller, context, terms) => service.signBatch(command, caller, context, terms),
  encode: encodeBatchOutcome,
  summary: summarizeBatchOutcome,
  last: encodeBatchEnd,
};

export const streamMethods: readonly StreamMethod[] = [signBatch];
