import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { anyPack, DurationSchema } from '@bufbuild/protobuf/wkt';
import {
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from '../../src/gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../src/gen/google/rpc/status_pb.ts';

/** An error as the service sends it. */
export type Refusal = {
  readonly code: number;
  readonly message: string;
  readonly reason: string;
  readonly metadata?: Record<string, string>;
  readonly violations?: readonly { readonly field: string; readonly description: string }[];
  readonly retryAfterMs?: number;
};

/** What one call brought. */
export type Received<I extends DescMessage> = {
  readonly request: MessageShape<I>;
  readonly authorization: string | undefined;
  readonly deadline: number;
};

type Handler = { readonly path: string; readonly handle: handleUnaryCall<Buffer, Buffer> };

/** Answers one method with a message, or refuses it. */
export const answering = <I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  respond: (received: Received<I>) => MessageInitShape<O> | { readonly refuse: Refusal },
): Handler => ({
  path: `/${method.parent.typeName}/${method.name}`,
  handle: (call, callback) => {
    const [authorization] = call.metadata.get('authorization');
    const answer = respond({
      request: fromBinary(method.input, call.request),
      authorization: authorization === undefined ? undefined : String(authorization),
      deadline: Number(call.getDeadline()),
    });
    if (isRefusal(answer)) callback(refusalError(answer.refuse));
    else callback(null, Buffer.from(toBinary(method.output, create(method.output, answer))));
  },
});

const isRefusal = (answer: object): answer is { readonly refuse: Refusal } => 'refuse' in answer;

const refusalError = (refusal: Refusal) => {
  const seconds = Math.floor((refusal.retryAfterMs ?? 0) / 1000);
  const nanos = ((refusal.retryAfterMs ?? 0) % 1000) * 1e6;
  const details = [
    anyPack(
      ErrorInfoSchema,
      create(ErrorInfoSchema, { reason: refusal.reason, domain: 'countersign', metadata: refusal.metadata ?? {} }),
    ),
    anyPack(RequestInfoSchema, create(RequestInfoSchema, { requestId: 'request-1' })),
    ...(refusal.violations === undefined
      ? []
      : [anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [...refusal.violations] }))]),
    ...(refusal.retryAfterMs === undefined
      ? []
      : [
          anyPack(
            RetryInfoSchema,
            create(RetryInfoSchema, { retryDelay: create(DurationSchema, { seconds: BigInt(seconds), nanos }) }),
          ),
        ]),
  ];
  const metadata = new Metadata();
  const rich = create(StatusSchema, { code: refusal.code, message: refusal.message, details });
  metadata.set('grpc-status-details-bin', Buffer.from(toBinary(StatusSchema, rich)));
  return { code: refusal.code, details: refusal.message, metadata };
};

export type FakeService = { readonly server: string; stop(): void };

/** A gRPC server on a free loopback port with these methods only, in plain text. */
export const startFakeService = (...handlers: readonly Handler[]): Promise<FakeService> =>
  startFakeServiceWith(ServerCredentials.createInsecure(), ...handlers);

export const startFakeServiceWith = async (
  credentials: ServerCredentials,
  ...handlers: readonly Handler[]
): Promise<FakeService> => {
  const server = new Server();
  const definition: ServiceDefinition = Object.fromEntries(
    handlers.map(({ path }) => [
      path,
      {
        path,
        requestStream: false,
        responseStream: false,
        requestSerialize: (bytes: Buffer) => bytes,
        requestDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: (bytes: Buffer) => bytes,
        responseDeserialize: (bytes: Buffer) => bytes,
      },
    ]),
  );
  const implementation: UntypedServiceImplementation = Object.fromEntries(
    handlers.map(({ path, handle }) => [path, handle]),
  );
  server.addService(definition, implementation);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error))),
  );
  return { server: `grpc://127.0.0.1:${port}`, stop: () => server.forceShutdown() };
};

export { status };
