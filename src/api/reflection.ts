import {
  create,
  createRegistry,
  type DescFile,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { type handleBidiStreamingCall, type Server, status } from '@grpc/grpc-js';
import {
  type ServerReflectionRequest,
  ServerReflection,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from '../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { grpcDefinition } from './grpc-definition.ts';

type Answer = MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse'];

const withDependencies = (files: readonly DescFile[], found = new Map<string, DescFile>()): Map<string, DescFile> => {
  for (const file of files) {
    if (found.has(file.proto.name)) continue;
    found.set(file.proto.name, file);
    withDependencies(file.dependencies, found);
  }
  return found;
};

const notFound = (what: string): Answer => ({
  case: 'errorResponse',
  value: { errorCode: status.NOT_FOUND, errorMessage: `There is no such ${what}.` },
});

/**
 * Server reflection, v1 and v1alpha (equal on the wire), over the embedded descriptors with their custom options. `shown`
 * are the services that it lists; `extra` are further files whose messages clients may want to decode (error details).
 * Needs no token: the contract is public.
 */
export const addReflection = (server: Server, shown: readonly DescService[], extra: readonly DescFile[]): void => {
  const services = [...shown, ServerReflection, ServerReflectionAlpha];
  const files = withDependencies([...services.map(({ file }) => file), ...extra]);
  const registry = createRegistry(...files.values());
  const serialized = new Map<DescFile, Uint8Array>();

  // A file goes first, then what it imports: clients then ask no further.
  const fileAnswer = (file: DescFile | undefined, what: string): Answer => {
    if (file === undefined) return notFound(what);
    const fileDescriptorProto = [...withDependencies([file]).values()].map((each) => {
      const bytes = serialized.get(each) ?? toBinary(FileDescriptorProtoSchema, each.proto);
      serialized.set(each, bytes);
      return bytes;
    });
    return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
  };

  /** A method or field belongs to the file of its service or message. */
  const fileOf = (symbol: string): DescFile | undefined =>
    registry.get(symbol)?.file ?? registry.get(symbol.slice(0, Math.max(0, symbol.lastIndexOf('.'))))?.file;

  const answer = ({ messageRequest }: ServerReflectionRequest): Answer => {
    switch (messageRequest.case) {
      case 'listServices':
        return {
          case: 'listServicesResponse',
          value: { service: services.map(({ typeName }) => ({ name: typeName })) },
        };
      case 'fileByFilename':
        return fileAnswer(files.get(messageRequest.value), 'file');
      case 'fileContainingSymbol':
        return fileAnswer(fileOf(messageRequest.value), 'symbol');
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = messageRequest.value;
        const message = registry.getMessage(containingType);
        const extension = message && registry.getExtensionFor(message, extensionNumber);
        return fileAnswer(extension?.file, 'extension');
      }
      case 'allExtensionNumbersOfType': {
        const extensionNumber = [...registry]
          .filter((type) => type.kind === 'extension' && type.extendee.typeName === messageRequest.value)
          .map((type) => (type.kind === 'extension' ? type.number : 0));
        if (extensionNumber.length === 0 && registry.getMessage(messageRequest.value) === undefined)
          return notFound('type');
        return { case: 'allExtensionNumbersResponse', value: { baseTypeName: messageRequest.value, extensionNumber } };
      }
      default:
        return { case: 'errorResponse', value: { errorCode: status.UNIMPLEMENTED, errorMessage: 'Unknown question.' } };
    }
  };

  const handler: handleBidiStreamingCall<Buffer, Uint8Array> = (call) => {
    call.on('data', (bytes: Buffer) => {
      let originalRequest: ServerReflectionRequest;
      try {
        originalRequest = fromBinary(ServerReflectionRequestSchema, bytes);
      } catch {
        call.emit('error', { code: status.INVALID_ARGUMENT, details: 'Not a ServerReflectionRequest.' });
        return;
      }
      const { host: validHost } = originalRequest;
      const messageResponse = answer(originalRequest);
      if (messageResponse === undefined) return;
      const response = create(ServerReflectionResponseSchema, { validHost, originalRequest, messageResponse });
      // A client that asks faster than it reads is made to wait.
      if (!call.write(toBinary(ServerReflectionResponseSchema, response))) {
        call.pause();
        call.once('drain', () => call.resume());
      }
    });
    call.on('end', () => call.end());
    call.on('error', () => undefined);
  };
  for (const service of [ServerReflection, ServerReflectionAlpha]) {
    server.addService(grpcDefinition(service), { ServerReflectionInfo: handler });
  }
};
