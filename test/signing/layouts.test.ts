// Which layouts are written: those asked for, those configured, and the other one that the image carries already.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import type { SignResult } from '../../src/model/result.ts';
import { startSigningWorld } from './world.ts';

const formatsOf = ({ outputs }: SignResult) => outputs.map(({ sealed }) => sealed.format);
const layoutsOf = ({ outputs }: SignResult) => outputs.map(({ stored }) => stored?.by);

const start = async (...[t, options]: Parameters<typeof startSigningWorld>) => {
  const world = await startSigningWorld(t, options);
  await pushImage(world.registry.host, 'acme/app', 'v1');
  return world;
};

describe('a request that names no formats', () => {
  const cases = [
    { layouts: undefined, sign: ['bundle'], attest: ['bundle'] },
    { layouts: ['tag'], sign: ['simple-signing'], attest: ['dsse'] },
    { layouts: ['tag', 'referrer'], sign: ['simple-signing', 'bundle'], attest: ['dsse', 'bundle'] },
  ] as const;
  for (const { layouts, sign, attest } of cases) {
    test(`gets what is configured: ${layouts?.join(' and ') ?? 'nothing'}`, async (t) => {
      const repositories = ['*/acme/*'];
      const world = await start(t, layouts === undefined ? {} : { destinations: [{ repositories, layouts }] });
      const signed = await world.sign({});
      assert.deepEqual(formatsOf(signed), sign);
      assert.deepEqual(
        layoutsOf(signed),
        sign.map((format) => (format === 'bundle' ? 'referrer' : 'tag')),
      );
      assert.deepEqual(formatsOf(await world.attest({})), attest);
      const blob = { kind: 'blob', name: 'a', content: Buffer.from('a') } as const;
      assert.deepEqual(formatsOf(await world.sign({ subject: blob, storage: { kind: 'return' } })), ['bundle']);
    });
  }
});

describe('an image that carries the other layout already', () => {
  for (const [first, second] of [
    ['simple-signing', 'bundle'],
    ['bundle', 'simple-signing'],
  ] as const) {
    test(`${first}, then ${second} by another key: both are written`, async (t) => {
      const world = await start(t);
      assert.deepEqual(formatsOf(await world.sign({ formats: [first], key: 'other' })), [first]);
      const signed = await world.sign({ formats: [second] });
      assert.deepEqual(formatsOf(signed), [second, first]);
      assert.ok(signed.outputs.every(({ stored }) => stored !== undefined));
      assert.deepEqual(signed.notices, []);
      assert.deepEqual(world.records.at(-2)?.formats, [second, first]);
      const again = await world.sign({ formats: [second] });
      assert.ok(again.outputs.every(({ existing }) => existing));
      assert.equal(again.outputs.length, 2);
    });
  }

  test('attestations: the layouts of attestations count, those of signatures do not', async (t) => {
    const world = await start(t);
    await world.sign({ formats: ['simple-signing'] });
    assert.deepEqual(formatsOf(await world.attest({ formats: ['bundle'] })), ['bundle']);
    assert.deepEqual(formatsOf(await world.attest({ formats: ['dsse'] })), ['dsse', 'bundle']);
  });

  test('policy does not allow the other format: it is not written, and a notice says so', async (t) => {
    let strict = false;
    const allows = ({ formats }: { formats: readonly string[] }) => !strict || formats.join() === 'bundle';
    const world = await start(t, { allows });
    await world.sign({ formats: ['simple-signing'], key: 'other' });
    strict = true;
    const signed = await world.sign({ formats: ['bundle'] });
    assert.deepEqual(formatsOf(signed), ['bundle']);
    assert.match(signed.notices.join(), /simple-signing as well, which policy does not allow/);
  });

  test('configured to ignore it: it is not looked at', async (t) => {
    const world = await start(t, {
      destinations: [{ repositories: ['*/acme/*'], otherLayout: 'ignored' }],
    });
    await world.sign({ formats: ['simple-signing'], key: 'other' });
    assert.deepEqual(formatsOf(await world.sign({ formats: ['bundle'] })), ['bundle']);
  });

  test('a result that is only returned goes nowhere', async (t) => {
    const world = await start(t);
    await world.sign({ formats: ['simple-signing'] });
    const before = world.registry.requests.length;
    const signed = await world.sign({ formats: ['bundle'], storage: { kind: 'return' } });
    assert.deepEqual(layoutsOf(signed), [undefined]);
    assert.deepEqual(world.registry.requests.slice(before), [{ method: 'HEAD', kind: 'manifest' }]);
  });
});

describe('Verify says what carrying both layouts means', () => {
  test('both count; only the tag counts; only the bundle counts; one layout alone', async (t) => {
    const world = await start(t, {
      destinations: [{ repositories: ['*/acme/*'], otherLayout: 'ignored' }],
    });
    await pushImage(world.registry.host, 'acme/tag', 'v1');
    await pushImage(world.registry.host, 'acme/bundle', 'v1');
    const image = (name: string) => ({ kind: 'image', reference: `${world.registry.host}/acme/${name}:v1` }) as const;
    await world.sign({ formats: ['simple-signing'], subject: image('tag') });
    assert.deepEqual((await world.verify('acme/tag:v1')).notices, []);
    await world.sign({ formats: ['bundle'], subject: image('tag'), key: 'other' });
    const tag = await world.verify('acme/tag:v1');
    assert.equal(tag.verified, true);
    assert.match(tag.notices.join(), /Only one at the tag counts: cosign 3/);

    await world.sign({ formats: ['bundle'], subject: image('bundle') });
    await world.sign({ formats: ['simple-signing'], subject: image('bundle'), key: 'other' });
    assert.match((await world.verify('acme/bundle:v1')).notices.join(), /Only a bundle counts/);

    await world.sign({ formats: ['bundle', 'simple-signing'] });
    assert.match((await world.verify('acme/app:v1')).notices.join(), /in both layouts, tag and bundle\.$/);
    await world.attest({ formats: ['dsse'] });
    assert.deepEqual((await world.verify('acme/app:v1', 'custom')).notices, [], 'signatures are no attestations');
  });
});

test('in the steady state: one look, the blob, the manifest', async (t) => {
  const world = await start(t);
  const reference = `${world.registry.host}/acme/app:v1`;
  const { digest } = await world.sign({});
  const byDigest = { kind: 'image', reference: `${reference.replace(/:v1$/, '')}@${digest}` } as const;
  await world.sign({ subject: byDigest, annotations: { n: 'warm' } });
  for (const n of ['1', '2', '3']) {
    world.registry.requests.length = 0;
    await world.sign({ subject: byDigest, annotations: { n } });
    assert.deepEqual(world.registry.requests, [
      { method: 'GET', kind: 'referrers' },
      { method: 'POST', kind: 'upload' },
      { method: 'PUT', kind: 'manifest' },
    ]);
    world.registry.requests.length = 0;
    await world.sign({ annotations: { by: 'tag', n } });
    assert.deepEqual(world.registry.requests[0], { method: 'HEAD', kind: 'manifest' });
    assert.equal(world.registry.requests.length, 4, 'a tag is resolved each time');
  }
});
