// An equal signature is not made twice.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import type { SignResult } from '../../src/model/result.ts';
import { marks } from '../../src/model/signature.ts';
import { fetchJson, isError } from '../registry/world.ts';
import { startSigningWorld } from './world.ts';

const bytesOf = ({ outputs }: SignResult) =>
  outputs.map(({ sealed }) => Buffer.from(sealed.content).toString('latin1'));
const existing = ({ outputs }: SignResult): readonly boolean[] => outputs.map((output) => output.existing);

for (const referrers of [true, false]) {
  for (const record of ['full', 'none'] as const) {
    describe(`${referrers ? 'referrers' : 'fallback tag'}, record ${record}`, () => {
      const start = async (t: Parameters<typeof startSigningWorld>[0]) => {
        const world = await startSigningWorld(t, { registry: { referrers }, record });
        await pushImage(world.registry.host, 'acme/app', 'v1');
        return world;
      };

      test('signed again, also after a restart: the same bytes, marked existing, no use of the key', async (t) => {
        const world = await start(t);
        const formats = ['simple-signing', 'bundle'] as const;
        const first = await world.sign({ formats });
        assert.deepEqual(existing(first), [false, false]);
        for (const again of ['at once', 'after a restart']) {
          if (again === 'after a restart') world.restart();
          const second = await world.sign({ formats });
          assert.deepEqual(existing(second), [true, true], again);
          assert.deepEqual(bytesOf(second), bytesOf(first), again);
          assert.deepEqual(
            second.outputs.map(({ stored, sealed }) => [stored?.digest, sealed.signature]),
            first.outputs.map(({ stored, sealed }) => [stored?.digest, Buffer.from(sealed.signature)]),
            again,
          );
        }
        assert.equal(world.keyUses(), 2);
        assert.deepEqual(
          world.records.map(({ event, results }) => [event, results.length]),
          [
            ['intended', 0],
            ['completed', 2],
            ['existing', 2],
            ['existing', 2],
          ],
        );
        const last = world.records.at(-1);
        assert.equal(last?.intent, undefined);
        assert.equal((await world.verify('acme/app:v1')).signatures.length, 2);
      });

      test('only what is missing is signed', async (t) => {
        const world = await start(t);
        const bundle = await world.sign({ formats: ['bundle'] });
        const both = await world.sign({ formats: ['simple-signing', 'bundle'] });
        assert.deepEqual(existing(both), [false, true]);
        assert.deepEqual(bytesOf(both)[1], bytesOf(bundle)[0]);
        assert.equal(world.keyUses(), 2);
        assert.deepEqual(world.records.at(-2)?.formats, ['simple-signing'], 'the intent names what is signed');
      });

      test('another key, other annotations, another image: all are signed', async (t) => {
        const world = await start(t);
        await pushImage(world.registry.host, 'acme/app', 'v2', { content: 'other' });
        for (const formats of [['bundle'], ['simple-signing', 'bundle']] as const) {
          await world.sign({ formats });
          const reference = `${world.registry.host}/acme/app:v2`;
          for (const other of [
            { key: 'other' },
            { annotations: { env: 'prod' } },
            { subject: { kind: 'image', reference } as const },
          ]) {
            const made = await world.sign({ formats, ...other });
            assert.equal(existing(made).at(0), false, JSON.stringify(other));
            assert.ok(existing(await world.sign({ formats, ...other })).every(Boolean), JSON.stringify(other));
          }
        }
      });

      test('without if_absent it is signed each time; attestations are, unless asked otherwise', async (t) => {
        const world = await start(t);
        for (const round of [1, 2]) {
          assert.deepEqual(existing(await world.sign({ ifAbsent: false })), [false], `${round}`);
          assert.deepEqual(existing(await world.attest({})), [false], `${round}`);
        }
        for (const formats of [['bundle'], ['dsse', 'bundle']] as const) {
          const predicate = Buffer.from(`{"b":[1,${formats.length}]}`);
          for (const predicateType of ['custom', 'https://acme.example/x']) {
            const asked = { predicateType, predicate, formats, ifAbsent: true };
            assert.equal(existing(await world.attest(asked))[0], false, `${predicateType} is not there`);
            assert.ok(existing(await world.attest(asked)).every(Boolean), `${predicateType} is there`);
          }
        }
      });
    });
  }
}

describe('marks are believed by nobody', () => {
  const setUp = async (t: Parameters<typeof startSigningWorld>[0]) => {
    const world = await startSigningWorld(t);
    await pushImage(world.registry.host, 'acme/app', 'v1');
    return world;
  };

  test('on a signature by another key, or of other annotations, they count for nothing', async (t) => {
    const world = await setUp(t);
    const base = `http://${world.registry.host}/v2/acme/app`;
    const wanted = await world.sign({ formats: ['bundle'] });
    const { digest = '' } = wanted.outputs[0]?.stored ?? {};
    const manifest = JSON.parse(JSON.stringify(await fetchJson(`${base}/manifests/${digest}`)));
    const mark = manifest.annotations[marks.content] ?? assert.fail('it carries the mark');
    for (const liar of [{ key: 'other' }, { annotations: { env: 'prod' } }]) {
      const lying = await world.sign({ formats: ['bundle'], ...liar });
      const at = lying.outputs[0]?.stored?.digest ?? '';
      const copy = JSON.parse(JSON.stringify(await fetchJson(`${base}/manifests/${at}`)));
      copy.annotations[marks.content] = mark;
      const answer = await fetch(`${base}/manifests/lie`, {
        method: 'PUT',
        headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
        body: JSON.stringify(copy),
      });
      assert.equal(answer.status, 201);
    }
    const removed = await fetch(`${base}/manifests/${digest}`, { method: 'DELETE' });
    assert.ok([202, 404, 405].includes(removed.status));
    world.restart();
    const again = await world.sign({ formats: ['bundle'] });
    const gone = removed.status === 202;
    assert.deepEqual(existing(again), [!gone]);
    assert.equal((await world.verify('acme/app:v1')).verified, true);
  });

  test('a signature that was tampered with is made anew', async (t) => {
    const world = await setUp(t);
    const base = `http://${world.registry.host}/v2/acme/app`;
    const first = await world.sign({ formats: ['simple-signing'] });
    const tag = first.outputs[0]?.stored?.tag ?? '';
    const manifest = JSON.parse(JSON.stringify(await fetchJson(`${base}/manifests/${tag}`)));
    const annotations = manifest.layers[0].annotations;
    annotations['dev.cosignproject.cosign/signature'] = Buffer.alloc(70, 1).toString('base64');
    await fetch(`${base}/manifests/${tag}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
      body: JSON.stringify(manifest),
    });
    world.restart();
    assert.deepEqual(existing(await world.sign({ formats: ['simple-signing'] })), [false]);
    assert.equal((await world.verify('acme/app:v1')).verified, true);
  });
});

describe('a request id that the caller chose', () => {
  const chosen = { requestId: 'build-17', idChosen: true };

  test('gives the same bytes, from memory and after a restart from the registry; another body does not', async (t) => {
    const world = await startSigningWorld(t);
    await pushImage(world.registry.host, 'acme/app', 'v1');
    const requests = {
      sign: () => world.sign({ ifAbsent: false }, chosen),
      attest: () => world.attest({ formats: ['dsse', 'bundle'] }, chosen),
    };
    for (const [name, ask] of Object.entries(requests)) {
      const before = world.keyUses();
      const first = await ask();
      const fresh = world.registry.requests.length;
      const second = await ask();
      assert.deepEqual(second, first, name);
      assert.equal(world.registry.requests.length, fresh, 'from memory: nobody is asked');
      world.restart();
      const third = await ask();
      assert.deepEqual(bytesOf(third), bytesOf(first), name);
      assert.ok(existing(third).every(Boolean), name);
      assert.equal(world.keyUses() - before, first.outputs.length, name);
    }
    const others = [
      await world.attest({ predicate: Buffer.from('{"a":2}') }, chosen),
      await world.attest({ formats: ['bundle'] }, { requestId: 'build-18', idChosen: true }),
    ];
    for (const other of others) assert.ok(!existing(other).some(Boolean), 'another body, another id');
    const records = world.records.filter(({ requestId }) => requestId === 'build-17');
    assert.deepEqual(
      records.filter(({ event }) => event === 'existing').map(({ intent }) => intent !== undefined),
      [true, false, true, false],
    );
  });

  test('for a blob, whose result lies nowhere: from memory', async (t) => {
    const world = await startSigningWorld(t);
    const subject = { kind: 'blob', name: 'a', content: Buffer.from('hello') } as const;
    const storage = { kind: 'return' } as const;
    const first = await world.sign({ subject, storage }, chosen);
    assert.deepEqual(await world.sign({ subject, storage }, chosen), first);
    assert.equal(world.keyUses(), 1);
    const other = { ...subject, content: Buffer.from('hallo') };
    assert.notDeepEqual(bytesOf(await world.sign({ subject: other, storage }, chosen)), bytesOf(first));
  });

  test('20 equal requests at once: one signature', async (t) => {
    const world = await startSigningWorld(t);
    await pushImage(world.registry.host, 'acme/app', 'v1');
    for (const context of [chosen, {}]) {
      const before = world.keyUses();
      const annotations = { of: JSON.stringify(context) };
      const all = await Promise.all(Array.from({ length: 20 }, () => world.sign({ annotations }, context)));
      assert.equal(new Set(all.map((each) => bytesOf(each).join())).size, 1);
      assert.equal(world.keyUses() - before, 1);
    }
  });

  test('a failure is not remembered', async (t) => {
    const world = await startSigningWorld(t);
    await assert.rejects(world.sign({}, chosen), isError('not_found', 'IMAGE_NOT_FOUND'));
    await pushImage(world.registry.host, 'acme/app', 'v1');
    assert.deepEqual(existing(await world.sign({}, chosen)), [false]);
  });
});
