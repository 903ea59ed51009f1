import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { create, createFileRegistry, fromBinary, getOption, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { Client } from '@grpc/grpc-js';
import { http } from '../../src/gen/google/api/annotations_pb.ts';
import {
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from '../../src/gen/grpc/reflection/v1/reflection_pb.ts';
import { grpcClient } from './clients.ts';
import { startWorld, type World } from './world.ts';

type Question = MessageInitShape<typeof ServerReflectionRequestSchema>['messageRequest'];

let world: World;
let client: Client;
before(async () => {
  world = await startWorld();
  client = grpcClient(world.grpc.port);
});
after(async () => {
  client.close();
  await world.close();
});

/** Files after those that they import; throws when an import is missing. */
const inOrder = (files: readonly FileDescriptorProto[]): FileDescriptorProto[] => {
  const sorted = new Set<FileDescriptorProto>();
  const add = (name: string): void => {
    const file = files.find((each) => each.name === name);
    assert.ok(file, `${name} is missing`);
    for (const dependency of file.dependency) add(dependency);
    sorted.add(file);
  };
  for (const { name } of files) add(name);
  return [...sorted];
};

for (const version of ['v1', 'v1alpha']) {
  /** One stream: all questions, then all answers. */
  const ask = (...questions: Question[]) =>
    new Promise<ReturnType<typeof answerOf>[]>((resolve, reject) => {
      const stream = client.makeBidiStreamRequest(
        `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
        (question: Question) =>
          Buffer.from(
            toBinary(
              ServerReflectionRequestSchema,
              create(ServerReflectionRequestSchema, question === undefined ? {} : { messageRequest: question }),
            ),
          ),
        answerOf,
      );
      const answers: ReturnType<typeof answerOf>[] = [];
      stream.on('data', (answer) => answers.push(answer));
      stream.on('error', reject);
      stream.on('end', () => resolve(answers));
      for (const question of questions) stream.write(question);
      stream.end();
    });
  const answerOf = (bytes: Buffer) => fromBinary(ServerReflectionResponseSchema, bytes).messageResponse;

  describe(`reflection ${version}`, () => {
    test('lists every service', async () => {
      const [answer] = await ask({ case: 'listServices', value: '' });
      assert.ok(answer?.case === 'listServicesResponse');
      assert.deepEqual(answer.value.service.map(({ name }) => name).sort(), [
        'countersign.v1.KeyService',
        'countersign.v1.SigningService',
        'countersign.v1.VerificationService',
        'grpc.health.v1.Health',
        'grpc.reflection.v1.ServerReflection',
        'grpc.reflection.v1alpha.ServerReflection',
      ]);
    });

    test('a symbol comes with all that its file imports, options included', async () => {
      for (const symbol of [
        'countersign.v1.SigningService',
        'countersign.v1.SigningService.Sign',
        'countersign.v1.SignRequest',
        'countersign.v1.Storage.Mode',
        'google.rpc.ErrorInfo',
        'google.rpc.Status',
      ]) {
        const [answer] = await ask({ case: 'fileContainingSymbol', value: symbol });
        assert.ok(answer?.case === 'fileDescriptorResponse', symbol);
        const files = answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
        const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder(files) }));
        const service = registry.getService('countersign.v1.SigningService');
        if (!symbol.startsWith('countersign.v1.Signing')) continue;
        const sign = service?.method['sign'];
        assert.ok(sign);
        assert.equal(getOption(sign, http).pattern.value, '/v1/sign');
      }
    });

    test('files by name, extensions, and what is not there', async () => {
      const [file, extension, numbers, nothing, noFile, empty] = await ask(
        { case: 'fileByFilename', value: 'google/protobuf/descriptor.proto' },
        {
          case: 'fileContainingExtension',
          value: { containingType: 'google.protobuf.MethodOptions', extensionNumber: 72295728 },
        },
        { case: 'allExtensionNumbersOfType', value: 'google.protobuf.MethodOptions' },
        { case: 'fileContainingSymbol', value: 'no.such.Thing' },
        { case: 'fileByFilename', value: '__proto__' },
        undefined,
      );
      assert.equal(file?.case, 'fileDescriptorResponse');
      assert.equal(extension?.case, 'fileDescriptorResponse');
      assert.ok(numbers?.case === 'allExtensionNumbersResponse' && numbers.value.extensionNumber.includes(72295728));
      for (const missing of [nothing, noFile])
        assert.ok(missing?.case === 'errorResponse' && missing.value.errorCode === 5);
      assert.equal(empty?.case, 'errorResponse');
    });
  });
}
