import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { type DevRegistry, type DevRegistryOptions, startRegistry } from '../../src/dev/registry.ts';
import type { Sealed } from '../../src/model/signature.ts';
import { seeded, signConcurrently } from './signers.ts';
import { bundle, clientFor, layer } from './world.ts';

/** Runs under way at once: each is of another image, and a registry under load is slower than its settling time says. */
const atOnce = 5;
const settleMs = 300;
const maxDelayMs = 12;

export type Layout = {
  readonly name: string;
  readonly sealed: (name: string) => Sealed;
  readonly referrers: boolean;
  readonly by: string;
};

export const layouts: readonly Layout[] = [
  { name: 'referrers', sealed: bundle, referrers: true, by: 'referrer' },
  { name: 'the fallback tag', sealed: bundle, referrers: false, by: 'fallback-tag' },
  { name: 'the .sig tag', sealed: layer, referrers: true, by: 'tag' },
];

const kinds: readonly { readonly name: string; readonly etag: NonNullable<DevRegistryOptions['etag']> }[] = [
  { name: 'that honours If-Match', etag: true },
  { name: 'that sends ETag and looks at no condition', etag: 'ignored' },
  { name: 'without ETag', etag: false },
];

/** Registers the tests: every layout in the embedded registry of every kind, with random delays, so many runs each. */
export const registerMatrix = (runs: number): void => {
  for (const { name, sealed, referrers, by } of layouts) {
    for (const [index, kind] of kinds.entries()) {
      describe(`50 signers in two replicas, ${name}, a registry ${kind.name}`, () => {
        let server: DevRegistry;
        const random = seeded(index + 1);
        before(async () => {
          server = await startRegistry({ referrers, etag: kind.etag, delayMs: () => random() * maxDelayMs });
        });
        after(() => server.close());

        const run = async (repository: string): Promise<void> => {
          await pushImage(server.host, repository, 'v1');
          const open = () => clientFor(server.host, undefined, 3, { settleMs });
          const replicas = [open(), open()] as const;
          const reader = open();
          try {
            const reference = `${server.host}/${repository}:v1`;
            const how = { sealed, replicas, reader, random, withinMs: 100, deadlineMs: 20_000 };
            assert.deepEqual(await signConcurrently({ reference, ...how }), new Set([by]));
          } finally {
            await Promise.all([...replicas, reader].map((client) => client.close()));
          }
        };

        test(`50 of 50, ${runs} times`, async () => {
          for (let first = 0; first < runs; first += atOnce) {
            const count = Math.min(atOnce, runs - first);
            await Promise.all(Array.from({ length: count }, (_, next) => run(`acme/run${first + next}`)));
          }
        });
      });
    }
  }
};
