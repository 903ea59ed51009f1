/*
 * The baseline: a bare grpc-js server whose one method makes an ECDSA P-256 signature over what it is sent, verifies it
 * and answers with it. No authentication, policy, audit, validation or metrics.
 */
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { type sendUnaryData, Server, ServerCredentials, type ServerUnaryCall } from '@grpc/grpc-js';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const publicKey = createPublicKey(privateKey);
const bytes = (value: Buffer): Buffer => value;

const server = new Server();
server.addService(
  {
    sign: {
      path: '/bench.Bare/Sign',
      requestStream: false,
      responseStream: false,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    },
  },
  {
    sign: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
      const signature = sign('sha256', call.request, privateKey);
      if (!verify('sha256', call.request, publicKey, signature)) throw new Error('bad signature');
      answer(null, signature);
    },
  },
);
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.stdout.write(`${JSON.stringify({ grpc: `127.0.0.1:${port}` })}\n`);
});
process.once('SIGTERM', () => server.forceShutdown());
