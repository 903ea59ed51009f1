import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Server,
  type ServerWritableStream,
  status,
} from '@grpc/grpc-js';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
} from '../gen/grpc/health/v1/health_pb.ts';
import { grpcDefinition } from './grpc-definition.ts';

export type HealthService = {
  /** Answers SERVING or NOT_SERVING from now on, for all services; watchers are told. */
  setServing(serving: boolean): void;
  /** NOT_SERVING for good; ends every Watch, so that a shutdown need not wait for them. */
  close(): void;
};

type Watch = ServerWritableStream<Buffer, Uint8Array>;

/** An empty name on malformed bytes: the health of the whole server. */
const serviceIn = (request: Buffer): string => {
  try {
    return fromBinary(HealthCheckRequestSchema, request).service;
  } catch {
    return '';
  }
};

const answer = (state: Serving): Uint8Array =>
  toBinary(HealthCheckResponseSchema, create(HealthCheckResponseSchema, { status: state }));

/** grpc.health.v1.Health for the whole server (empty name) and each of `names`; begins as SERVING. Needs no token. */
export const addHealth = (server: Server, names: readonly string[]): HealthService => {
  const known = new Set(['', ...names]);
  const watches = new Set<{ readonly call: Watch; readonly name: string }>();
  let state: Serving = Serving.SERVING;

  const check: handleUnaryCall<Buffer, Uint8Array> = (call, callback) => {
    if (known.has(serviceIn(call.request))) callback(null, answer(state));
    else callback({ code: status.NOT_FOUND, details: 'There is no service of this name.' });
  };
  const list: handleUnaryCall<Buffer, Uint8Array> = (_call, callback) => {
    const statuses = Object.fromEntries([...known].map((name) => [name, { status: state }]));
    callback(null, toBinary(HealthListResponseSchema, create(HealthListResponseSchema, { statuses })));
  };
  const watch: handleServerStreamingCall<Buffer, Uint8Array> = (call) => {
    const entry = { call, name: serviceIn(call.request) };
    watches.add(entry);
    call.on('cancelled', () => watches.delete(entry));
    call.on('error', () => watches.delete(entry));
    call.write(answer(known.has(entry.name) ? state : Serving.SERVICE_UNKNOWN));
  };
  server.addService(grpcDefinition(Health), { Check: check, List: list, Watch: watch });

  const set = (next: Serving): void => {
    if (state === next) return;
    state = next;
    for (const { call, name } of watches) if (known.has(name)) call.write(answer(state));
  };
  return {
    setServing: (serving) => set(serving ? Serving.SERVING : Serving.NOT_SERVING),
    close: () => {
      set(Serving.NOT_SERVING);
      for (const { call } of watches) call.end();
      watches.clear();
    },
  };
};
