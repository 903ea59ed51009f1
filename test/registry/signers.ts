import assert from 'node:assert/strict';
import type { Sealed } from '../../src/model/signature.ts';
import type { Registry } from '../../src/registry/port.ts';
import { resolve, within } from './world.ts';

/** mulberry32: numbers from 0 up to 1, the same ones for the same seed. */
export const seeded = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
};

/**
 * 50 signers of one image over replicas (each with caches of its own), begun within `withinMs`; afterwards `reader` finds
 * all 50. `reference` names the image. Answers the layouts that the signatures were stored in.
 */
export const signConcurrently = async (options: {
  readonly reference: string;
  readonly sealed: (name: string) => Sealed;
  readonly replicas: readonly Registry[];
  readonly reader: Registry;
  readonly random: () => number;
  readonly withinMs: number;
  readonly deadlineMs: number;
}): Promise<ReadonlySet<string>> => {
  const { reference, sealed, replicas, reader, random, withinMs, deadlineMs } = options;
  const image = await resolve(reader, reference);
  const names = Array.from({ length: 50 }, (_, signer) => `n${signer}`);
  const stored = await Promise.all(
    names.map(async (name, signer) => {
      await new Promise((done) => setTimeout(done, random() * withinMs));
      const replica = replicas[signer % replicas.length] ?? assert.fail();
      return replica.attach(image, sealed(name), undefined, within(deadlineMs));
    }),
  );
  const found = await reader.attachments(image, undefined, within(deadlineMs));
  const text = (content: Uint8Array): string => Buffer.from(content).toString();
  assert.deepEqual(
    found.map(({ content }) => text(content)).sort(),
    names.map((name) => text(sealed(name).content)).sort(),
  );
  return new Set(stored.map(({ by }) => by));
};
