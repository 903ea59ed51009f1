import type { DescMethod, DescService } from '@bufbuild/protobuf';
import type { ServiceDefinition } from '@grpc/grpc-js';

const view = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** `/countersign.v1.SigningService/Sign` */
const methodPath = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;

/**
 * A service of the contract as grpc-js wants it. Messages pass as bytes in both directions and are decoded in the handler:
 * a decoder that throws inside grpc-js would answer INTERNAL where the caller is at fault.
 */
export const grpcDefinition = (
  service: DescService,
  path = (method: DescMethod) => methodPath(method),
): ServiceDefinition =>
  Object.fromEntries(
    service.methods.map((method) => [
      method.name,
      {
        path: path(method),
        requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
        responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
        requestSerialize: view,
        requestDeserialize: (bytes: Buffer): Buffer => bytes,
        responseSerialize: view,
        responseDeserialize: (bytes: Buffer): Buffer => bytes,
      },
    ]),
  );
