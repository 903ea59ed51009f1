// Which signatures at a tag are read, before another is made: those that may be equal, and no others.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { startRegistry } from '../../src/dev/registry.ts';
import { sha256 } from '../../src/model/digest.ts';
import { marks, type Sealed } from '../../src/model/signature.ts';
import type { Sought } from '../../src/registry/present.ts';
import { clientFor, layer, resolve, within } from './world.ts';

const sought: Sought = {
  suffix: 'sig',
  layouts: new Set(['tag']),
  content: new Set(),
  request: undefined,
  layers: new Set(),
  unmarked: false,
  others: false,
};

const marked = (name: string, more: Readonly<Record<string, string>>): Sealed => {
  const one = layer(name);
  assert.ok(one.attachment.by === 'tag');
  return { ...one, attachment: { ...one.attachment, annotations: { ...one.attachment.annotations, ...more } } };
};

/** A tag that holds these, and what is found among them, by name, in their order. */
const open = async (t: TestContext, signatures: readonly Sealed[]) => {
  const server = await startRegistry({ referrers: false });
  const registry = clientFor(server.host);
  t.after(() => Promise.all([registry.close(), server.close()]));
  await pushImage(server.host, 'acme/app', 'v1');
  const image = await resolve(registry, `${server.host}/acme/app:v1`);
  const attach = (each: Sealed) => registry.attach(image, each, undefined, within(10_000));
  for (const each of signatures) await attach(each);
  const find = async (more: Partial<Sought>): Promise<string[]> => {
    const { candidates, layouts } = await registry.present(image, { ...sought, ...more }, undefined, within(5_000));
    assert.deepEqual([...layouts], signatures.length === 0 ? [] : ['tag']);
    return candidates.map(({ annotations }) => annotations['dev.cosignproject.cosign/signature'] ?? '');
  };
  return { server, attach, find };
};

describe('candidates at a .sig tag', () => {
  test('by the mark of their content, of their request, and by what they hold; in the order of the tag', async (t) => {
    const { find } = await open(t, [
      marked('a', { [marks.content]: 'one' }),
      marked('b', { [marks.content]: 'two', [marks.request]: 'r1' }),
      layer('c'),
      marked('d', { [marks.content]: 'one', [marks.request]: 'r1' }),
      // Who marks no content marks no request.
      marked('e', { [marks.request]: 'r1' }),
    ]);
    assert.deepEqual(await find({ content: new Set(['one']) }), ['a', 'd']);
    assert.deepEqual(await find({ content: new Set(['two', 'three']) }), ['b']);
    assert.deepEqual(await find({ request: 'r1' }), ['b', 'd']);
    assert.deepEqual(await find({ content: new Set(['one']), request: 'r1' }), ['a', 'b', 'd']);
    assert.deepEqual(await find({ layers: new Set([sha256(layer('c').content)]) }), ['c']);
    assert.deepEqual(await find({ unmarked: true, content: new Set(['one']) }), ['a', 'c', 'd', 'e']);
    assert.deepEqual(await find({}), []);
  });

  test('of those without a mark only the newest 64, and what holds the content besides', async (t) => {
    const names = Array.from({ length: 70 }, (_, index) => `s${index}`);
    const { find } = await open(
      t,
      names.map((name) => layer(name)),
    );
    assert.deepEqual(await find({ unmarked: true }), names.slice(6));
    const layers = new Set([sha256(layer('s0').content), sha256(layer('s69').content)]);
    assert.deepEqual(await find({ unmarked: true, layers }), ['s0', ...names.slice(5)]);
  });

  test('what is added meanwhile is found as well', async (t) => {
    const { attach, find } = await open(t, [layer('a')]);
    assert.deepEqual(await find({ content: new Set(['one']) }), []);
    await attach(marked('b', { [marks.content]: 'one' }));
    assert.deepEqual(await find({ content: new Set(['one']) }), ['b']);
    await attach(marked('c', { [marks.content]: 'one' }));
    assert.deepEqual(await find({ content: new Set(['one']) }), ['b', 'c']);
  });
});
