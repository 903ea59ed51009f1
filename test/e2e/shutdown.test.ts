import { Client, credentials } from '@grpc/grpc-js';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { signImage } from '../../src/cli/calls.ts';
import {
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
  HealthCheckResponseSchema,
} from '../../src/gen/grpc/health/v1/health_pb.ts';
import { CountersignError } from '../../src/model/error.ts';
import { startServedWorld } from './served-world.ts';

test('100 clients sign when SIGTERM comes: every call is answered whole or refused untouched', async (t) => {
  const world = await startServedWorld();
  t.after(() => world.stop());
  const answered: string[] = [];
  const refused: CountersignError[] = [];
  const enough = Promise.withResolvers<void>();

  const signUntilRefused = async (): Promise<void> => {
    const client = world.client();
    for (;;) {
      try {
        const { auditId, outputs } = await signImage(client, { image: world.image, key: 'release', ifAbsent: false });
        assert.ok(outputs[0]?.stored !== undefined);
        answered.push(auditId);
        if (answered.length >= 150) enough.resolve();
      } catch (caught) {
        assert.ok(caught instanceof CountersignError, String(caught));
        refused.push(caught);
        return;
      }
    }
  };
  const callers = Promise.all(Array.from({ length: 100 }, signUntilRefused));
  await enough.promise;
  assert.ok(world.process.child.kill('SIGTERM'));
  await callers;

  assert.equal(await world.process.ended, 0);
  assert.equal(refused.length, 100);
  assert.deepEqual(new Set(refused.map(({ code }) => code)), new Set(['unavailable']));
  const records = await world.audit();
  const intended = records.filter(({ event }) => event === 'intended').map(({ id }) => id);
  const completed = records.filter(({ event }) => event === 'completed').map(({ intent }) => intent);
  assert.deepEqual(completed.toSorted(), answered.toSorted(), 'what was answered is what was completed');
  assert.deepEqual(intended.toSorted(), answered.toSorted(), 'what was refused was not begun');
  assert.equal(records.length, 2 * answered.length);
});

test('while it drains: not ready, NOT_SERVING, no new calls; the call under way is answered', async (t) => {
  const world = await startServedWorld();
  t.after(() => world.stop());
  await untilReady(world.process.admin);
  const watch = watchHealth(world.process.grpc);
  assert.equal(await watch.next(), Serving.SERVING);

  world.registry.hold();
  const underWay = signImage(world.client(), { image: world.image, key: 'release' });
  await world.registry.held();
  assert.ok(world.process.child.kill('SIGTERM'));

  assert.equal(await watch.next(), Serving.NOT_SERVING);
  watch.close();
  await world.process.logged('draining');
  const draining = await fetch(`http://${world.process.admin}/readyz`);
  assert.equal(draining.status, 503);
  assert.match(await draining.text(), /draining/);
  const late = signImage(world.client(), { image: world.image, key: 'release' });
  await assert.rejects(late, { code: 'unavailable' });
  assert.equal(world.process.child.exitCode, null, 'it waits for the call under way');

  world.registry.release();
  const { auditId } = await underWay;
  assert.equal(await world.process.ended, 0);
  const records = await world.audit();
  assert.deepEqual(
    records.map(({ event, id, intent }) => [event, intent ?? id]),
    [
      ['intended', auditId],
      ['completed', auditId],
    ],
  );
});

test('a second SIGTERM ends it at once', async (t) => {
  const world = await startServedWorld();
  t.after(() => world.stop());
  world.registry.hold();
  const underWay = assert.rejects(signImage(world.client(), { image: world.image, key: 'release' }));
  await world.registry.held();
  assert.ok(world.process.child.kill('SIGTERM'));
  await world.process.logged('draining');
  const second = performance.now();
  assert.ok(world.process.child.kill('SIGTERM'));
  const how = await Promise.race([world.process.ended, delay(5_000, 'nothing', { ref: false })]);
  assert.equal(how, 143);
  assert.ok(performance.now() - second < 2_000);
  await underWay;
});

/** grpc.health.v1.Health/Watch of the whole server. */
const watchHealth = (authority: string): { next(): Promise<Serving | undefined>; close(): void } => {
  const client = new Client(authority, credentials.createInsecure());
  const stream = client.makeServerStreamRequest(
    '/grpc.health.v1.Health/Watch',
    (request: Uint8Array) => Buffer.from(request),
    (bytes: Buffer) => fromBinary(HealthCheckResponseSchema, bytes).status,
    toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema)),
  );
  const statuses: AsyncIterator<Serving> = stream[Symbol.asyncIterator]();
  return {
    next: async () => (await statuses.next()).value,
    close: () => client.close(),
  };
};

/** Asks until it is ready: the issuer's keys are fetched after the start. */
const untilReady = async (admin: string): Promise<void> => {
  for (let attempt = 0; attempt < 500; attempt++) {
    const { ok } = await fetch(`http://${admin}/readyz`);
    if (ok) return;
    await delay(10);
  }
  assert.fail('it never became ready');
};
