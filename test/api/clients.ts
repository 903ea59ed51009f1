import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import {
  type CallOptions,
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from '../../src/gen/google/rpc/error_details_pb.ts';
import { type Status, StatusSchema } from '../../src/gen/google/rpc/status_pb.ts';
import { goodToken } from './world.ts';

export const grpcClient = (port: number, channel = credentials.createInsecure()): Client =>
  new Client(`127.0.0.1:${port}`, channel, { 'grpc.use_local_subchannel_pool': 1 });

export const metadataWith = (entries: Record<string, string>): Metadata => {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(entries)) metadata.set(key, value);
  return metadata;
};

export const authorized = (entries: Record<string, string> = {}): Metadata =>
  metadataWith({ authorization: `Bearer ${goodToken}`, ...entries });

/** The details of a gRPC error, decoded. */
export const detailsOf = (error: ServiceError) => {
  const [raw] = error.metadata.get('grpc-status-details-bin');
  if (!(raw instanceof Buffer)) throw new Error(`no details: ${error.message}`);
  return statusDetails(fromBinary(StatusSchema, raw));
};

/** The details of a google.rpc.Status. */
export const statusDetails = (status: Status) => {
  const find = <Schema extends DescMessage>(schema: Schema): MessageShape<Schema> | undefined =>
    status.details.map((any) => anyUnpack(any, schema)).find((each) => each !== undefined);
  return {
    status,
    info: find(ErrorInfoSchema),
    request: find(RequestInfoSchema),
    bad: find(BadRequestSchema),
    retry: find(RetryInfoSchema),
  };
};

export type GrpcResult<Output> =
  | { readonly message: Output; readonly error?: never }
  | { readonly message?: never; readonly error: ServiceError };

/** Sends bytes, answers bytes or the error. */
export const callRaw = (
  client: Client,
  path: string,
  body: Uint8Array,
  metadata: Metadata = authorized(),
  options: CallOptions = {},
): Promise<GrpcResult<Buffer>> =>
  new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes: Buffer) => bytes,
      body,
      metadata,
      options,
      (error, message) => resolve(error ? { error } : { message: message ?? Buffer.alloc(0) }),
    );
  });

export const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;

export const callGrpc = async <Input extends DescMessage, Output extends DescMessage>(
  client: Client,
  method: DescMethodUnary<Input, Output>,
  request: MessageInitShape<Input>,
  metadata: Metadata = authorized(),
  options: CallOptions = {},
): Promise<GrpcResult<MessageShape<Output>>> => {
  const body = toBinary(method.input, create(method.input, request));
  const result = await callRaw(client, pathOf(method), body, metadata, options);
  return result.error ? { error: result.error } : { message: fromBinary(method.output, result.message) };
};

export type RestResult = { readonly status: number; readonly headers: Headers; readonly body: Record<string, unknown> };

export const problemViolations = (body: Record<string, unknown>): { field: string; description: string }[] =>
  body['violations'] as { field: string; description: string }[];

/** Sends JSON (or text as it is), answers the parsed answer. */
export const callRest = async (
  port: number,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
  method = body === undefined ? 'GET' : 'POST',
): Promise<RestResult> => {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${goodToken}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined
      ? {}
      : { body: typeof body === 'string' || body instanceof Uint8Array ? Buffer.from(body) : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) };
};

/** Calls a method that answers in parts; the stream fails with the call's status. */
export const openStream = <Input extends DescMessage, Output extends DescMessage>(
  client: Client,
  method: DescMethodServerStreaming<Input, Output>,
  request: MessageInitShape<Input>,
  metadata: Metadata = authorized(),
  options: CallOptions = {},
): ClientReadableStream<MessageShape<Output>> =>
  client.makeServerStreamRequest(
    pathOf(method),
    (message: MessageShape<Input>) => Buffer.from(toBinary(method.input, message)),
    (bytes: Buffer) => fromBinary(method.output, bytes),
    create(method.input, request),
    metadata,
    options,
  );

type PostOptions = { readonly headers?: Record<string, string>; readonly signal?: AbortSignal };

/** Posts JSON; the answer as it comes. */
export const postRest = (port: number, path: string, body: unknown, options: PostOptions = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${goodToken}`, 'content-type': 'application/json', ...options.headers },
    body: JSON.stringify(body),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });

/** Posts JSON, answers the lines of a streamed answer as they come. Throws unless it is answered with 200. */
export async function* restLines(
  port: number,
  path: string,
  body: unknown,
  options: PostOptions = {},
): AsyncGenerator<Record<string, unknown>, void, undefined> {
  const response = await postRest(port, path, body, options);
  if (response.status !== 200 || response.body === null)
    throw new Error(`${response.status}: ${await response.text()}`);
  let rest = '';
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = `${rest}${text}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line);
  }
  if (rest !== '') throw new Error(`the last line does not end: ${rest}`);
}
