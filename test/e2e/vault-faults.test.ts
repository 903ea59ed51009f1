// A Vault that fails in every way it can, behind a real service.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type FakeVault, startFakeVault } from '../keys/fake-vault.ts';
import { approle, signing } from '../keys/vault-world.ts';
import { pushImage } from '../../src/dev/image.ts';
import { type ServiceWorld, startServiceWorld, type VerdictJson } from '../service-world.ts';
import { type FaultRegistry, startFaultRegistry } from '../registry/fault-registry.ts';
import { assertComplete, assertSound, openIntents, readTrail } from './audit-trail.ts';
import { assertRefused, assertSigned, type Edges, openEdges } from './both-edges.ts';
import { type Case, cases, deadlineMs, idsOf, lateCases, marginMs, patientMs } from './vault-fault-cases.ts';

const keyOf = (index: number): string => `key-${index}`;
const imageOf = (registry: FaultRegistry): string => `${registry.host}/acme/app:v1`;

const describeFaults = (title: string, cases: readonly Case[], maxRequestMs: number) =>
  describe(title, () => {
    let registry: FaultRegistry;
    let vaults: readonly FakeVault[];
    let world: ServiceWorld;
    let edges: Edges;

    before(async () => {
      registry = await startFaultRegistry();
      await pushImage(registry.host, 'acme/app', 'v1');
      vaults = await Promise.all(cases.map(() => startFakeVault()));
      for (const vault of vaults) vault.createKey('release');
      world = await startServiceWorld({
        plainHttpHosts: ['127.0.0.1'],
        keys: vaults.map((vault, index) => ({
          name: keyOf(index),
          kind: 'vault',
          address: vault.address,
          key: 'release',
          login: approle,
        })),
        settings: { limits: { maxRequestMs } },
      });
      edges = openEdges(world);
    });
    after(async () => {
      edges.close();
      await world.stop();
      await Promise.all(vaults.map((vault) => vault.close()));
      await registry.close();
    });

    describe('while it signs', { concurrency: true }, () => {
      for (const [index, { name, fault, expected }] of cases.entries()) {
        test(name, async () => {
          const vault = vaults[index] ?? assert.fail();
          const key = keyOf(index);
          const request = {
            subject: { image: imageOf(registry) },
            key,
            formats: ['FORMAT_SIMPLE_SIGNING'],
            ifAbsent: false,
          };
          assertSigned(await edges.rest('/v1/sign', request), name);
          const before = vault.count(signing);
          const intendedWhenAsked: number[] = [];
          vault.fail(signing, (call, response) => {
            intendedWhenAsked.push(openIntents(world.auditFile, key).length);
            return typeof fault === 'function' ? fault(call, response) : fault;
          });

          const outcomes = await edges.both('/v1/sign', request);
          for (const outcome of outcomes) {
            assertRefused(outcome, expected, name);
            assert.ok(outcome.ms < maxRequestMs + marginMs, `${outcome.edge} took ${outcome.ms} ms`);
          }
          const asked = vault.count(signing) - before;
          assert.equal(intendedWhenAsked.length, asked);
          assert.ok(
            asked >= 2 && intendedWhenAsked.every((open) => open > 0),
            'no use of the key without an open intent',
          );
          const records = await assertComplete(world.auditFile, idsOf(outcomes));
          for (const { requestId } of outcomes) {
            const mine = records.filter((record) => record.requestId === requestId);
            assert.deepEqual(
              mine.map(({ event, error, results }) => [event, error?.reason, results.length]),
              [
                ['intended', undefined, 0],
                ['failed', expected.reason, 0],
              ],
            );
          }
          vault.heal();
          if (expected.code !== 'failed_precondition')
            assertSigned(await edges.grpc('/v1/sign', request), `${name}, healed`);
        });
      }
    });

    test('of all that, only what was answered lies in the registry', async () => {
      const records = readTrail(world.auditFile);
      assertSound(records);
      const completed = records.filter(({ event }) => event === 'completed').length;
      let counted = 0;
      let found = 0;
      for (let from = 0; from < vaults.length; from += 10) {
        const keys = vaults.slice(from, from + 10).map((vault) => ({ key: keyOf(vaults.indexOf(vault)) }));
        const verified = await edges.rest('/v1/verify', { subject: { image: imageOf(registry) }, keys });
        const { signatures } = JSON.parse(verified.body) as VerdictJson;
        found = signatures.length;
        counted += signatures.filter(({ counts }) => counts).length;
      }
      assert.deepEqual([found, counted], [completed, completed]);
    });
  });

describeFaults('Vault fails: typed in both worlds, audited, and nothing bad leaves', cases, patientMs);
describeFaults('Vault hangs: an answer by the deadline, audited', lateCases, deadlineMs);
