import type { TestContext } from 'node:test';
import type { Client } from '@grpc/grpc-js';
import type { Limits } from '../../src/api/limits.ts';
import type { Service } from '../../src/api/service.ts';
import { SigningService } from '../../src/gen/countersign/v1/signing_pb.ts';
import type { Context } from '../../src/model/context.ts';
import { authorized, callGrpc, grpcClient } from './clients.ts';
import { signResult, startWorld } from './world.ts';

export const start = async (t: TestContext, overrides: Partial<Service> = {}, limits: Partial<Limits> = {}) => {
  const world = await startWorld(overrides, limits);
  const client = grpcClient(world.grpc.port);
  t.after(async () => {
    client.close();
    await world.close();
  });
  return { world, client };
};

export const request = {
  subject: { kind: { case: 'image' as const, value: 'registry.example/acme/app:v1' } },
  key: 'release',
};
export const restBody = { subject: { image: 'registry.example/acme/app:v1' }, key: 'release' };
export const sign = (client: Client, options = {}, metadata = authorized()) =>
  callGrpc(client, SigningService.method.sign, request, metadata, options);

/** A sign that hangs until its signal fires or the test lets it go. */
export const hanging = () => {
  const contexts: Context[] = [];
  const started: (() => void)[] = [];
  const gates: (() => void)[] = [];
  return {
    contexts,
    /** Resolves when `count` calls hang. */
    reached: async (count: number): Promise<void> => {
      while (contexts.length < count) await new Promise<void>((resolve) => started.push(resolve));
    },
    release: (): void => {
      for (const open of gates) open();
    },
    sign: ((_command, _caller, context) =>
      new Promise((resolve, reject) => {
        contexts.push(context);
        for (const each of started.splice(0)) each();
        gates.push(() => resolve(signResult()));
        context.signal.addEventListener('abort', () => reject(context.signal.reason), { once: true });
      })) satisfies Service['sign'],
  };
};
