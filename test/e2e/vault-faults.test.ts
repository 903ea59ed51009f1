// A Vault that fails in every way it can, behind a real service.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type Fault, type FakeVault, startFakeVault } from '../keys/fake-vault.ts';
import { signDigest } from '../keys/sign-digest.ts';
import { approle, login, reset, signing } from '../keys/vault-world.ts';
import { pushImage } from '../../src/dev/image.ts';
import { type ServiceWorld, startServiceWorld, type VerdictJson } from '../service-world.ts';
import { type FaultRegistry, startFaultRegistry } from '../registry/fault-registry.ts';
import { assertComplete, assertSound, openIntents, readTrail } from './audit-trail.ts';
import { assertRefused, assertSigned, type Edges, type Expected, openEdges, refusal } from './both-edges.ts';

/** What a request gets whose end is not its deadline: enough for a busy machine. */
const patientMs = 15_000;
/** What one gets that ends by it. */
const deadlineMs = 2_500;
/** What may pass between the deadline and the answer, on a busy machine. */
const marginMs = 4_000;

const idsOf = (outcomes: readonly { readonly requestId: string }[]): string[] =>
  outcomes.map(({ requestId }) => requestId);

const soon = { min: 1, max: 1_000 };
const errors = (status: number, ...said: string[]) => ({ status, body: { errors: said } });
const signature = (bytes: Uint8Array, version = 1) => ({
  status: 200,
  body: { data: { signature: `vault:v${version}:${Buffer.from(bytes).toString('base64')}`, key_version: version } },
});

const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const byStranger: Fault = ({ body }) => signature(signDigest(stranger, Buffer.from(String(body['input']), 'base64')));
const ofSomethingElse: Fault = () => signature(signDigest(stranger, Buffer.alloc(32, 7)));
const hang: Fault = () => 'handled';
const stall: Fault = (_, response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
  response.write('{"data":');
  return 'handled';
};
const flood: Fault = (_, response) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(Buffer.alloc(5 * 1024 * 1024, 0x20));
  return 'handled';
};

type Case = { readonly name: string; readonly fault: Parameters<FakeVault['fail']>[1]; readonly expected: Expected };

const garbage = refusal('data_loss', 'KEY_ANSWER_MALFORMED');
const badSignature = refusal('data_loss', 'BAD_SIGNATURE');
const sealed = refusal('unavailable', 'KEY_SEALED', { min: 1, max: 10_000 });
const late = refusal('deadline_exceeded', 'DEADLINE_EXCEEDED');

/** What befalls the request to sign, for good. */
const cases: readonly Case[] = [
  { name: 'sealed', fault: errors(503, 'Vault is sealed'), expected: sealed },
  {
    name: 'permission denied',
    fault: errors(403, '1 error occurred:\n\t* permission denied\n\n'),
    expected: refusal('failed_precondition', 'KEY_ACCESS_DENIED'),
  },
  {
    name: '429 with Retry-After',
    fault: { ...errors(429, 'request path: rate limit quota exceeded'), headers: { 'retry-after': '30' } },
    expected: refusal('resource_exhausted', 'KEY_THROTTLED', { min: 30_000, max: 30_000 }),
  },
  {
    name: '429 for a day',
    fault: { ...errors(429), headers: { 'retry-after': '86400' } },
    expected: refusal('resource_exhausted', 'KEY_THROTTLED', { min: 86_400_000, max: 86_400_000 }),
  },
  { name: '500', fault: errors(500, 'internal error'), expected: refusal('unavailable', 'KEY_UNAVAILABLE', soon) },
  {
    name: '502 of a proxy',
    fault: { status: 502, body: '<html>Bad Gateway</html>' },
    expected: refusal('unavailable', 'KEY_UNAVAILABLE', soon),
  },
  {
    name: 'standby',
    fault: { status: 307, headers: { location: 'http://127.0.0.2/v1' } },
    expected: refusal('unavailable', 'KEY_UNAVAILABLE'),
  },
  { name: 'reset', fault: reset, expected: refusal('unavailable', 'KEY_UNAVAILABLE', soon) },
  { name: 'flood', fault: flood, expected: refusal('unavailable', 'KEY_UNAVAILABLE') },
  {
    name: 'wrong version',
    fault: signature(Buffer.alloc(70), 2),
    expected: refusal('data_loss', 'KEY_VERSION_MISMATCH'),
  },
  { name: "other key's signature", fault: byStranger, expected: badSignature },
  { name: "other message's signature", fault: ofSomethingElse, expected: badSignature },
  { name: 'garbage DER', fault: signature(Buffer.from('30450221deadbeef', 'hex')), expected: badSignature },
  { name: 'zeros', fault: signature(Buffer.alloc(71)), expected: badSignature },
  { name: 'one byte', fault: signature(Buffer.of(0x30)), expected: badSignature },
  { name: 'empty signature', fault: { status: 200, body: { data: { signature: 'vault:v1:' } } }, expected: garbage },
  { name: 'not JSON', fault: { status: 200, body: 'signature' }, expected: garbage },
  { name: 'nothing', fault: { status: 204 }, expected: garbage },
];

/** These end by the deadline alone. */
const lateCases: readonly Case[] = [
  { name: 'hang', fault: hang, expected: late },
  { name: 'stall in the body', fault: stall, expected: late },
];

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
          const request = { subject: { image: imageOf(registry) }, key, formats: ['FORMAT_SIMPLE_SIGNING'] };
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

describe('tokens of Vault', { concurrency: true }, () => {
  const open = async (fault?: Parameters<FakeVault['fail']>[1], maxRequestMs = patientMs) => {
    const vault = await startFakeVault();
    vault.createKey('release');
    if (fault !== undefined) vault.fail(/./, fault);
    const world = await startServiceWorld({
      plainHttpHosts: [],
      keys: [{ name: 'release', kind: 'vault', address: vault.address, key: 'release', login: approle }],
      settings: { limits: { maxRequestMs } },
    });
    const edges = openEdges(world);
    const close = async (): Promise<void> => {
      edges.close();
      await world.stop();
      await vault.close();
    };
    return { vault, world, edges, close };
  };
  const request = { subject: { blob: { name: 'a', content: 'aGVsbG8=' } }, key: 'release' };

  test('expired: it logs in again, and no caller notices', async (t) => {
    const { vault, edges, close } = await open();
    t.after(close);
    assertSigned(await edges.rest('/v1/sign', request), 'before');
    vault.revokeTokens();
    const before = vault.count(login);
    for (const outcome of await edges.both('/v1/sign', request)) assertSigned(outcome, 'after');
    assert.equal(vault.count(login) - before, 1);
  });

  test('expired, and the login is refused', async (t) => {
    const { vault, world, edges, close } = await open();
    t.after(close);
    assertSigned(await edges.rest('/v1/sign', request), 'before');
    vault.revokeTokens();
    vault.fail(login, errors(400, 'invalid role or secret ID'));
    const outcomes = await edges.both('/v1/sign', request);
    for (const outcome of outcomes) {
      assertRefused(outcome, refusal('failed_precondition', 'KEY_ACCESS_DENIED'), 'refused');
    }
    await assertComplete(world.auditFile, idsOf(outcomes));
  });

  test('expired, and the login fails for a while: retryable until it works', async (t) => {
    const { vault, world, edges, close } = await open();
    t.after(close);
    assertSigned(await edges.rest('/v1/sign', request), 'before');
    vault.revokeTokens();
    vault.fail(login, errors(500, 'internal error'));
    const ids: string[] = [];
    for (const round of ['first', 'second']) {
      for (const outcome of await edges.both('/v1/sign', request)) {
        assertRefused(outcome, refusal('unavailable', 'KEY_UNAVAILABLE', soon), round);
        ids.push(outcome.requestId);
      }
    }
    vault.heal();
    // A failed login is remembered for a second; after five failures the backend is left alone for up to five.
    const giveUp = performance.now() + 10_000;
    let outcome = await edges.grpc('/v1/sign', request);
    while (outcome.signed === undefined && performance.now() < giveUp) {
      const reason = outcome.reason === 'KEY_BREAKER_OPEN' ? outcome.reason : 'KEY_UNAVAILABLE';
      assertRefused(outcome, refusal('unavailable', reason, { min: 1, max: 5_000 }), 'not yet');
      ids.push(outcome.requestId);
      await delay(100);
      outcome = await edges.grpc('/v1/sign', request);
    }
    assertSigned(outcome, 'healed');
    await assertComplete(world.auditFile, [...ids, outcome.requestId]);
  });

  const fromTheStart: readonly (readonly [string, Parameters<FakeVault['fail']>[1], Expected])[] = [
    ['sealed', errors(503, 'Vault is sealed'), sealed],
    // The key is tried again after five seconds, and not before.
    ['500', errors(500), refusal('unavailable', 'KEY_UNAVAILABLE', { min: 5_000, max: 5_000 })],
    ['hang', hang, late],
  ];
  for (const [name, fault, expected] of fromTheStart) {
    test(`${name} from the start: no intent, no use of the key, one failed record a request`, async (t) => {
      const { vault, world, edges, close } = await open(fault, expected === late ? deadlineMs : patientMs);
      t.after(close);
      const outcomes = await edges.both('/v1/sign', request);
      for (const outcome of outcomes) {
        assertRefused(outcome, expected, name);
        if (expected === late) assert.ok(outcome.ms < deadlineMs + marginMs, `${outcome.edge} took ${outcome.ms} ms`);
      }
      const records = await assertComplete(world.auditFile, idsOf(outcomes));
      assert.deepEqual(
        records.map(({ event, intent, error }) => [event, intent, error?.reason]),
        outcomes.map(() => ['failed', undefined, expected.reason]),
      );
      assert.equal(vault.count(signing), 0);
    });
  }

  test("the caller's own deadline is kept too", async (t) => {
    const { vault, world, edges, close } = await open();
    t.after(close);
    assertSigned(await edges.rest('/v1/sign', request), 'before');
    vault.fail(signing, hang);
    const outcome = await edges.rest('/v1/sign', request, { headers: { prefer: 'wait=1' } });
    assertRefused(outcome, late, 'wait=1');
    assert.ok(outcome.ms > 900 && outcome.ms < 1_000 + marginMs, `${outcome.ms}`);
    await assertComplete(world.auditFile, [outcome.requestId]);
  });
});
