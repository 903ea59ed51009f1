// An index, signed with everything below it.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { sha256 } from '../../src/model/digest.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { SignResult } from '../../src/model/result.ts';
import { startFaultRegistry } from '../registry/fault-registry.ts';
import { isError } from '../registry/world.ts';
import { type SigningWorld, startSigningWorld } from './world.ts';

const index = 'application/vnd.oci.image.index.v1+json';
const all = { platforms: [] };

const put = async (world: SigningWorld, tag: string, body: string): Promise<string> => {
  const answer = await fetch(`http://${world.registry.host}/v2/acme/app/manifests/${tag}`, {
    method: 'PUT',
    headers: { 'content-type': index },
    body,
  });
  assert.equal(answer.status, 201, await answer.text());
  return sha256(Buffer.from(body));
};

const verified = async (world: SigningWorld, digest: string): Promise<boolean> =>
  (await world.verify(`acme/app@${digest}`)).verified;

const startFaulty = async (t: TestContext) => {
  const faulty = await startFaultRegistry();
  t.after(() => faulty.close());
  const at = { host: faulty.host, port: 0, requests: [], close: async () => undefined };
  return { faulty, world: await startSigningWorld(t, { at }) };
};

describe('recursive', () => {
  test('an index and its platforms: each by its digest, with records of its own', async (t) => {
    const world = await startSigningWorld(t);
    const pushed = await pushImage(world.registry.host, 'acme/app', 'v1');
    const result = await world.sign({ recursive: all });
    assert.equal(result.digest, pushed.digest);
    assert.deepEqual(
      result.nested.map(({ digest, platform }) => ({ digest, platform })),
      pushed.platforms.map(({ digest, platform }) => ({ digest, platform })),
    );
    for (const { digest } of [...pushed.platforms, pushed]) assert.equal(await verified(world, digest), true, digest);
    const intents = world.records.filter(({ event }) => event === 'intended').map(({ digest }) => digest);
    assert.deepEqual(new Set(intents), new Set([...pushed.platforms, pushed].map(({ digest }) => digest)));
    assert.equal(intents.at(-1), pushed.digest, 'the index comes last');
    const again = await world.sign({ recursive: all });
    assert.ok([again, ...again.nested].flatMap(({ outputs }) => outputs).every(({ existing }) => existing));
    assert.equal(world.keyUses(), 3);
  });

  test('only the platforms asked for, and the index; an unknown one is named', async (t) => {
    const world = await startSigningWorld(t);
    const platforms = ['linux/amd64', 'linux/arm64', 'linux/s390x'];
    const pushed = await pushImage(world.registry.host, 'acme/app', 'v1', { platforms });
    const result = await world.sign({ recursive: { platforms: ['linux/arm64'] } });
    assert.deepEqual(
      result.nested.map(({ platform }) => platform),
      ['linux/arm64'],
    );
    assert.equal(await verified(world, pushed.digest), true);
    assert.equal(await verified(world, pushed.platforms[0]?.digest ?? ''), false);
    await assert.rejects(world.sign({ recursive: { platforms: ['linux/arm64', 'plan9/386'] } }), (error) => {
      assert.ok(isError('not_found', 'PLATFORM_NOT_FOUND')(error) && error instanceof Error);
      assert.match(error.message, /for plan9\/386; it has linux\/amd64, linux\/arm64, linux\/s390x/);
      return true;
    });
  });

  test('indexes within indexes, one that is listed twice, one that holds itself by name only', async (t) => {
    const world = await startSigningWorld(t);
    const pushed = await pushImage(world.registry.host, 'acme/app', 'inner');
    const entry = { mediaType: index, digest: pushed.digest, size: 10 };
    const outer = await put(
      world,
      'v1',
      JSON.stringify({ schemaVersion: 2, mediaType: index, manifests: [entry, entry] }),
    );
    const result = await world.sign({ recursive: all });
    assert.equal(result.digest, outer);
    assert.deepEqual(
      result.nested.map(({ digest, platform }) => [digest, platform]),
      [[pushed.digest, undefined], ...pushed.platforms.map(({ digest, platform }) => [digest, platform])],
    );
  });

  test('too deep, too many, one that is not there: refused before anything is signed', async (t) => {
    const world = await startSigningWorld(t);
    const { digest } = await pushImage(world.registry.host, 'acme/app', 'v0');
    let inner: string = digest;
    for (let depth = 1; depth <= 5; depth++) {
      const manifests = [{ mediaType: index, digest: inner, size: 10 }];
      inner = await put(world, 'v1', JSON.stringify({ schemaVersion: 2, mediaType: index, manifests }));
    }
    await assert.rejects(world.sign({ recursive: all }), isError('failed_precondition', 'INDEX_TOO_LARGE'));

    assert.equal(world.keyUses(), 0);
  });

  test('too many, and one that is not there, as a registry that checks nothing may have it', async (t) => {
    const { world, faulty } = await startFaulty(t);
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const entries = (count: number, type: string) =>
      Array.from({ length: count }, (_, n) => ({ mediaType: type, digest: sha256(Buffer.from(`${n}`)), size: 10 }));
    const cases = [
      [entries(1_001, mediaType), 'failed_precondition', 'INDEX_TOO_LARGE'],
      [entries(1, index), 'not_found', 'MANIFEST_NOT_FOUND'],
    ] as const;
    for (const [manifests, code, reason] of cases) {
      const body = JSON.stringify({ schemaVersion: 2, mediaType: index, manifests });
      const digest = sha256(Buffer.from(body));
      const path = new RegExp(`/manifests/(v1|${digest})$`);
      faulty.script(
        { method: 'HEAD', path, fault: { kind: 'answer', status: 405 } },
        { method: 'GET', path, fault: { kind: 'answer', status: 200, headers: { 'content-type': index }, body } },
      );
      await assert.rejects(world.sign({ recursive: all }), isError(code, reason));
    }
    assert.equal(world.keyUses(), 0);
  });

  test('a manifest that is no index is signed alone; policy is asked first', async (t) => {
    const world = await startSigningWorld(t);
    const pushed = await pushImage(world.registry.host, 'acme/app', 'v1');
    const digest = pushed.platforms[0]?.digest ?? '';
    const subject = { kind: 'image', reference: `${world.registry.host}/acme/app@${digest}` } as const;
    const result = await world.sign({ subject, recursive: all });
    assert.deepEqual([result.digest, result.nested], [digest, []]);

    const denied = await startSigningWorld(t, { allows: () => false, at: world.registry });
    const before = world.registry.requests.length;
    await assert.rejects(denied.sign({ recursive: all }), isError('permission_denied'));
    assert.equal(world.registry.requests.length, before);
    assert.deepEqual(
      denied.records.map(({ event }) => event),
      ['denied'],
    );
  });

  test('one that cannot be stored: the error names what is missing and what was stored; a second try does the rest', async (t) => {
    const { world, faulty } = await startFaulty(t);
    const platforms = ['linux/amd64', 'linux/arm64', 'linux/s390x', 'linux/ppc64le'];
    const pushed = await pushImage(faulty.host, 'acme/app', 'v1', { platforms });
    faulty.script({ method: 'POST', path: /uploads/, times: 3, fault: { kind: 'answer', status: 403 } });
    const failure = await world.sign({ recursive: all }).then(
      () => assert.fail('it must not succeed'),
      (error: unknown) => error,
    );
    assert.ok(failure instanceof CountersignError);
    assert.equal(failure.reason, 'REGISTRY_ACCESS_DENIED');
    const missing = failure.metadata['missing']?.split(',') ?? [];
    const unsigned: string[] = [];
    for (const { digest } of [...pushed.platforms, pushed]) if (!(await verified(world, digest))) unsigned.push(digest);
    assert.deepEqual(new Set(missing), new Set(unsigned));
    assert.ok(missing.includes(pushed.digest), 'the index is not signed before what it lists');
    assert.equal(failure.metadata['stored']?.split(',').length ?? 0, pushed.platforms.length + 1 - missing.length);
    for (const digest of missing) assert.ok(failure.message.includes(digest));

    const used = world.keyUses();
    const result = await world.sign({ recursive: all });
    assert.equal(result.nested.length, platforms.length);
    assert.equal(world.keyUses() - used, missing.length, 'what is there is not signed again');
    for (const { digest } of [...pushed.platforms, pushed]) assert.equal(await verified(world, digest), true);
  });

  test('an attestation about an index and each of its platforms: one predicate, each with its own subject', async (t) => {
    const world = await startSigningWorld(t);
    const pushed = await pushImage(world.registry.host, 'acme/app', 'v1');
    const asked = { recursive: all, formats: ['dsse', 'bundle'], ifAbsent: true } as const;
    const result = await world.attest(asked);
    assert.equal(result.digest, pushed.digest);
    assert.deepEqual(
      result.nested.map(({ digest }) => digest),
      pushed.platforms.map(({ digest }) => digest),
    );
    for (const { digest } of [...pushed.platforms, pushed]) {
      assert.equal((await world.verify(`acme/app@${digest}`, 'custom')).verified, true, digest);
    }
    const [first, ...others] = [result, ...result.nested].map(({ outputs }) => predicateOf(outputs[0]));
    assert.match(first ?? '', /"Timestamp":/);
    for (const other of others) assert.equal(other, first, 'made at one time');

    const used = world.keyUses();
    const again = await world.attest({ ...asked, predicateType: 'https://acme.example/x' });
    assert.equal(again.nested.length, pushed.platforms.length);
    assert.equal(world.keyUses() - used, 2 * (pushed.platforms.length + 1));
    const third = await world.attest({ ...asked, predicateType: 'https://acme.example/x' });
    assert.ok([third, ...third.nested].flatMap(({ outputs }) => outputs).every(({ existing }) => existing));
    await assert.rejects(
      world.attest({ ...asked, recursive: { platforms: ['plan9/386'] } }),
      isError('not_found', 'PLATFORM_NOT_FOUND'),
    );
  });
});

/** The predicate in a DSSE envelope, JSON. */
const predicateOf = (output: SignResult['outputs'][number] | undefined): string => {
  const { payload } = JSON.parse(new TextDecoder().decode(output?.sealed.content)) as { payload: string };
  return JSON.stringify((JSON.parse(Buffer.from(payload, 'base64').toString()) as { predicate: unknown }).predicate);
};
