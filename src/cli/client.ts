import {
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { type ChannelCredentials, Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { CountersignError } from '../model/error.ts';
import { type Address, parseAddress, parseTimeout } from './address.ts';
import { type Input, type Terminal, UsageError } from './command.ts';
import { readBounded } from './files.ts';
import { fromServiceError } from './rpc-error.ts';
import { findToken, noTokenHint } from './token.ts';

/** Speaks to one service over gRPC. */
export type ServiceClient = {
  /** One unary call. Throws CountersignError: what the service answered, or why it could not be asked. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
  ): Promise<MessageShape<O>>;
  /** One call that is answered in parts. Throws as `call`, perhaps after some of them. */
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageShape<I>,
  ): AsyncGenerator<MessageShape<O>, void, undefined>;
  close(): void;
};

export type ClientSettings = {
  /** `host:port` */
  readonly authority: string;
  readonly credentials: ChannelCredentials;
  /** Asked anew for every call, so that a rotated token is picked up; milliseconds that it may take. */
  readonly token: (timeoutMs: number) => Promise<string | undefined>;
  /** Deadline of one call, milliseconds. */
  readonly timeoutMs: number;
  /** Added to the message when a call without a token is refused for that. */
  readonly noTokenHint?: string;
};

const maxResponseBytes = 32 * 1024 * 1024;

/** A client on one channel, which connects when it is first used. Safe to call concurrently; never retries. */
export const createServiceClient = (settings: ClientSettings): ServiceClient => {
  const client = new Client(settings.authority, settings.credentials, {
    'grpc.max_receive_message_length': maxResponseBytes,
    'grpc.enable_retries': 0,
    'grpc.primary_user_agent': 'countersign-cli',
  });
  return {
    call: async (method, request) => {
      const deadline = Date.now() + settings.timeoutMs;
      const token = await settings.token(settings.timeoutMs);
      try {
        return await unary(client, method, request, token, deadline, settings.authority);
      } catch (caught) {
        throw token === undefined ? withHint(caught, settings.noTokenHint) : caught;
      }
    },
    stream: async function* (method, request) {
      const deadline = Date.now() + settings.timeoutMs;
      const token = await settings.token(settings.timeoutMs);
      const stream = client.makeServerStreamRequest<
        MessageShape<typeof method.input>,
        MessageShape<typeof method.output>
      >(...wire(method), request, metadataOf(token), { deadline });
      try {
        for await (const part of stream) yield part;
      } catch (caught) {
        const error = fromServiceError(caught as ServiceError, settings.authority);
        throw token === undefined ? withHint(error, settings.noTokenHint) : error;
      } finally {
        stream.cancel();
      }
    },
    close: () => client.close(),
  };
};

/** The client that the options of a command describe. `timeout`: when `--timeout` is not given. Throws UsageError. */
export const openClient = async (input: Input, terminal: Terminal, timeout = '30s'): Promise<ServiceClient> => {
  const plaintext = input.flag('plaintext');
  const address = parseAddress(input.text('server') ?? '', plaintext);
  const channel = await channelCredentials(input, address);
  return createServiceClient({
    authority: address.authority,
    credentials: channel,
    timeoutMs: parseTimeout(input.text('timeout') ?? timeout),
    noTokenHint,
    token: async (timeoutMs) => {
      const token = await findToken(input, terminal, timeoutMs);
      if (token !== undefined && !address.tls && !address.loopback && !plaintext) {
        throw new UsageError(
          `The token would travel unencrypted to ${address.authority}: use grpcs://, or say --plaintext if you mean it.`,
        );
      }
      return token;
    },
  });
};

/** One call with the connection that the options describe; `what` is shown while it lasts. */
export const callOnce = async <I extends DescMessage, O extends DescMessage>(
  input: Input,
  terminal: Terminal,
  what: string,
  method: DescMethodUnary<I, O>,
  request: MessageShape<I>,
): Promise<MessageShape<O>> => {
  const client = await openClient(input, terminal);
  const done = terminal.progress(what);
  try {
    return await client.call(method, request);
  } finally {
    done();
    client.close();
  }
};

/** What only TLS makes use of. */
const tlsOptions = ['ca-file', 'client-cert', 'client-key'] as const;

const channelCredentials = async (input: Input, address: Address): Promise<ChannelCredentials> => {
  const [ca, certificate, key] = tlsOptions.map((name) => input.text(name));
  if ((certificate === undefined) !== (key === undefined)) {
    throw new UsageError('--client-cert and --client-key belong together.');
  }
  if (!address.tls) {
    const given = tlsOptions.filter((name) => input.text(name) !== undefined).map((name) => `--${name}`);
    if (given.length === 0) return credentials.createInsecure();
    throw new UsageError(
      `${given.join(' and ')} would be ignored: ${address.authority} is reached without TLS. Write grpcs:// before it, or leave them (and their environment variables) away.`,
    );
  }
  const read = async (path: string | undefined): Promise<Buffer | null> =>
    path === undefined ? null : Buffer.from(await readBounded(path, 1024 * 1024));
  const [roots, privateKey, chain] = await Promise.all([read(ca), read(key), read(certificate)]);
  try {
    return credentials.createSsl(roots, privateKey, chain);
  } catch (caught) {
    throw new CountersignError('invalid_argument', 'CERTIFICATE_UNREADABLE', 'The TLS files hold no usable PEM.', {
      cause: caught,
    });
  }
};

const unary = <I extends DescMessage, O extends DescMessage>(
  client: Client,
  method: DescMethodUnary<I, O>,
  request: MessageShape<I>,
  token: string | undefined,
  deadline: number,
  authority: string,
): Promise<MessageShape<O>> =>
  new Promise((resolve, reject) => {
    client.makeUnaryRequest<MessageShape<I>, MessageShape<O>>(
      ...wire(method),
      request,
      metadataOf(token),
      { deadline },
      (error, response) => {
        if (error !== null) reject(fromServiceError(error, authority));
        else if (response === undefined) reject(new Error('a unary call ended without an answer'));
        else resolve(response);
      },
    );
  });

/** Path, serialize, deserialize: how grpc-js wants a method. */
const wire = <I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O> | DescMethodServerStreaming<I, O>,
): [string, (message: MessageShape<I>) => Buffer, (bytes: Buffer) => MessageShape<O>] => [
  `/${method.parent.typeName}/${method.name}`,
  (message) => Buffer.from(toBinary(method.input, message)),
  (bytes) => fromBinary(method.output, bytes),
];

const metadataOf = (token: string | undefined): Metadata => {
  const metadata = new Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  return metadata;
};

const withHint = (caught: unknown, hint: string | undefined): unknown => {
  if (hint === undefined) return caught;
  if (!(caught instanceof CountersignError) || caught.code !== 'unauthenticated') return caught;
  const { code, reason, message, violations, metadata, cause } = caught;
  return new CountersignError(code, reason, `${message} ${hint}`, { violations, metadata, cause });
};
