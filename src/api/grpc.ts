import { type DescMessage, type Message, toBinary } from '@bufbuild/protobuf';
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  Server,
  type ServerUnaryCall,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import { file_google_rpc_error_details } from '../gen/google/rpc/error_details_pb.ts';
import { file_google_rpc_status } from '../gen/google/rpc/status_pb.ts';
import { Health } from '../gen/grpc/health/v1/health_pb.ts';
import { cancelled } from '../model/context.ts';
import type { TlsMaterial } from '../net/tls.ts';
import { untilDrained } from './backpressure.ts';
import { grpcDefinition } from './grpc-definition.ts';
import { listenGrpc } from './grpc-listener.ts';
import { type Edge, type Exchange, handle, handleStream } from './handle.ts';
import { addHealth } from './health.ts';
import type { Limits } from './limits.ts';
import { type Method, methods, services, type StreamMethod, streamMethods } from './methods.ts';
import { readBinary } from './read.ts';
import { addReflection } from './reflection.ts';
import type { ListenAddress, ListenerSecurity } from './security.ts';
import { toStatus } from './status.ts';

export type GrpcOptions = {
  readonly edge: Edge;
  readonly address: ListenAddress;
  readonly security: ListenerSecurity;
  readonly limits: Limits;
};

/** A running gRPC listener. */
export type GrpcEdge = {
  readonly port: number;
  /** What `grpc.health.v1` answers from now on; true at the start. */
  setServing(serving: boolean): void;
  /** Shows another certificate to new connections; those that are open go on with theirs. Nothing without TLS. */
  renew(material: TlsMaterial): void;
  /**
   * Takes no new connections and asks clients to leave; resolves when every request has been answered, or after `graceMs`
   * milliseconds, when those left are cut off. A second call with a shorter grace cuts off earlier.
   */
  close(graceMs: number): Promise<void>;
};

type StreamCall = ServerWritableStream<Buffer, Uint8Array>;
type Call = ServerUnaryCall<Buffer, Uint8Array> | StreamCall;

const values = (metadata: Metadata, name: string): string[] => metadata.get(name).map(String);

const write = (schema: DescMessage, message: Message): Uint8Array => toBinary(schema, message);

const exchangeOf = (call: Call): Exchange<Uint8Array> => {
  const deadline = Number(call.getDeadline());
  return {
    transport: 'grpc',
    header: (name) => values(call.metadata, name),
    timeoutMs: deadline === Number.POSITIVE_INFINITY ? deadline : deadline - Date.now(),
    // Covers the client's deadline, its cancelling and a lost connection; also comes after an answer.
    onCancel: (cancel) => void call.on('cancelled', cancel),
    decode: (decoder) => decoder.decode(readBinary(decoder.desc.input, call.request)),
    write,
  };
};

const unary =
  (edge: Edge, method: Method): handleUnaryCall<Buffer, Uint8Array> =>
  (call, callback) =>
    void handle(edge, method, exchangeOf(call)).then(({ requestId, written, error }) =>
      error === undefined ? callback(null, written) : callback(toStatus(error, requestId)),
    );

const serverStream =
  (edge: Edge, method: StreamMethod, readMs: number): handleServerStreamingCall<Buffer, Uint8Array> =>
  async (call) => {
    const send = async (bytes: Uint8Array): Promise<void> => {
      // A write after that would never come back.
      if (call.cancelled) throw cancelled();
      if (!call.write(bytes)) await untilDrained(call, 'cancelled', readMs);
    };
    const { requestId, error } = await handleStream(edge, method, { ...exchangeOf(call), send });
    if (error === undefined) call.end();
    else call.emit('error', toStatus(error, requestId));
  };

const serverOptions = (limits: Limits) => ({
  'grpc.max_receive_message_length': limits.maxMessageBytes,
  'grpc.max_send_message_length': -1,
  'grpc.max_concurrent_streams': limits.maxConcurrentStreams,
  'grpc.max_connection_age_ms': limits.maxConnectionAgeMs,
  'grpc.max_connection_age_grace_ms': limits.maxConnectionAgeGraceMs,
  'grpc.max_connection_idle_ms': limits.maxConnectionIdleMs,
  'grpc.keepalive_time_ms': limits.keepaliveMs,
  'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutMs,
  // In MiB: what one connection may hold of headers and unsent data.
  'grpc-node.max_session_memory': 10,
  'grpc.enable_channelz': 0,
});

/** Starts gRPC with the contract's services, health and reflection. Rejects when the address cannot be listened on. */
export const startGrpc = async ({ edge, address, security, limits }: GrpcOptions): Promise<GrpcEdge> => {
  const server = new Server(serverOptions(limits));
  for (const service of services) {
    const isOwn = ({ desc }: Method | StreamMethod): boolean => desc.parent.typeName === service.typeName;
    server.addService(
      grpcDefinition(service),
      Object.fromEntries([
        ...methods.filter(isOwn).map((method) => [method.name, unary(edge, method)]),
        ...streamMethods.filter(isOwn).map((method) => [method.name, serverStream(edge, method, limits.readMs)]),
      ]),
    );
  }
  const health = addHealth(
    server,
    services.map(({ typeName }) => typeName),
  );
  addReflection(server, [...services, Health], [file_google_rpc_error_details, file_google_rpc_status]);
  const listener = await listenGrpc(server, address, security, limits);

  let closed: Promise<void> | undefined;
  const drain = async (): Promise<void> => {
    health.close();
    const ended = listener.close();
    // Asks every client to leave. Its callback says nothing: it does not wait for injected connections.
    server.tryShutdown(() => undefined);
    await ended;
  };
  return {
    port: listener.port,
    setServing: health.setServing,
    renew: listener.renew,
    close: async (graceMs) => {
      closed ??= drain();
      const timer = setTimeout(listener.destroyAll, graceMs);
      await closed.finally(() => clearTimeout(timer));
    },
  };
};
