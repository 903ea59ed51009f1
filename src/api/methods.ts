import type { DescMessage, DescMethod, DescMethodUnary, Message, MessageShape } from '@bufbuild/protobuf';
import { KeyService } from '../gen/countersign/v1/keys_pb.ts';
import { SigningService } from '../gen/countersign/v1/signing_pb.ts';
import { VerificationService } from '../gen/countersign/v1/verification_pb.ts';
import type { Caller } from '../model/caller.ts';
import type { Context } from '../model/context.ts';
import { decodeAttest, decodeExplain, decodeGetKey, decodeSign, decodeVerify } from './decode.ts';
import { encodeAttest, encodeExplain, encodeGetKey, encodeListKeys, encodeSign, encodeVerify } from './encode.ts';
import type { Service } from './service.ts';

/** The services of the contract, as both edges, reflection and health show them. */
export const services = [SigningService, VerificationService, KeyService] as const;

/** One method of the contract: message -> command -> result -> message. Both edges serve exactly these. */
export type Method<Command = unknown, Result = unknown> = {
  /** `Sign`: what logs, spans and metrics call it. */
  readonly name: string;
  readonly desc: DescMethodUnary;
  /** Throws `invalid_argument` that names every bad field. */
  decode(message: Message): Command;
  call(service: Service, command: Command, caller: Caller, context: Context): Result | Promise<Result>;
  encode(result: Result, caller: Caller, requestId: string): Message;
};

type Steps<Input extends DescMessage, Output extends DescMessage, Command, Result> = {
  decode(message: MessageShape<Input>): Command;
  call(service: Service, command: Command, caller: Caller, context: Context): Result | Promise<Result>;
  encode(result: Result, caller: Caller, requestId: string): MessageShape<Output>;
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
