import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNarrator } from '../../src/dev/narrator.ts';
import { tellStory } from '../../src/dev/story.ts';
import { freePorts, startWorld } from '../../src/dev/world.ts';

const silent = () => createNarrator({ out: () => undefined, colour: false });

test('the story fails when something that it says is not so', async (t) => {
  const world = await startWorld();
  t.after(() => world.stop());
  // A release token for everybody: the build of the main branch is then allowed to sign.
  const generous = { ...world, token: () => world.token({}) };
  await assert.rejects(tellStory(generous, silent()), /should have been refused, and was not/);
});

test('a claim that does not hold stops the story; those that do are counted', () => {
  let out = '';
  const write = (text: string): void => {
    out += text;
  };
  const tell = createNarrator({ out: write, colour: false });
  tell.step('first');
  tell.check('one is one', true);
  assert.throws(() => tell.check('one is two', false), /should be so, and is not: one is two/);
  assert.equal(tell.checked(), 1);
  assert.equal(out, '\n  1  first\n     ✓ one is one\n');
});

test('a world whose port is taken leaves nothing behind', async (t) => {
  const world = await startWorld();
  t.after(() => world.stop());
  const ports = { ...freePorts, registry: world.registry.port };
  await assert.rejects(startWorld({ ports }), /EADDRINUSE/);
});
