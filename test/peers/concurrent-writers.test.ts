// 50 signers of one digest over two replicas, 20 runs of each layout: in the embedded registry of every kind, and in real ones,
// none of which looks at conditions.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { seeded, signConcurrently } from '../registry/signers.ts';
import { bundle, clientFor, layer } from '../registry/world.ts';
import { registerMatrix } from '../registry/writers-matrix.ts';
import { pushTestImage } from './image.ts';
import { type PeerName, requirePeers, skipWithout } from './peer.ts';
import { type Registry, startDistribution, startDockerRegistry, startGgcrRegistry } from './registries.ts';

const runs = 20;
const settleMs = 1_000;
const deadlineMs = 60_000;

registerMatrix(runs);

type Kind = {
  readonly label: string;
  readonly peer: PeerName;
  readonly start: () => Promise<Registry>;
  readonly referrers: boolean;
  /** Images under way at once. */
  readonly atOnce: number;
};
const kinds: readonly Kind[] = [
  { label: 'ggcr', peer: 'ggcr-registry', start: () => startGgcrRegistry(), referrers: true, atOnce: 5 },
  {
    label: 'ggcr without referrers',
    peer: 'ggcr-registry',
    start: () => startGgcrRegistry({ referrers: false }),
    referrers: false,
    atOnce: 5,
  },
  { label: 'distribution 2.8', peer: 'docker-registry', start: startDockerRegistry, referrers: false, atOnce: 2 },
  { label: 'distribution 3.1', peer: 'distribution', start: () => startDistribution(), referrers: false, atOnce: 2 },
];

for (const { label, peer, start, referrers, atOnce } of kinds) {
  describe(`50 signers in two replicas, ${label}`, { skip: skipWithout('crane', peer) }, () => {
    let registry: Registry;
    const random = seeded(7);
    before(async () => {
      requirePeers('crane', peer);
      registry = await start();
    });
    after(() => registry?.stop());

    for (const [layout, sealed] of [
      [referrers ? 'referrer' : 'fallback-tag', bundle],
      ['tag', layer],
    ] as const) {
      const run = async (index: number): Promise<void> => {
        const { ref: reference } = await pushTestImage(registry, `acme/${layout}${index}:v1`);
        const open = () => clientFor(registry.host, undefined, 3, { settleMs });
        const replicas = [open(), open()] as const;
        const reader = open();
        try {
          const how = { sealed, replicas, reader, random, withinMs: 500, deadlineMs };
          assert.deepEqual(await signConcurrently({ reference, ...how }), new Set([layout]));
        } finally {
          await Promise.all([...replicas, reader].map((client) => client.close()));
        }
      };

      it(`${layout}: 50 of 50, ${runs} times`, async () => {
        for (let first = 0; first < runs; first += atOnce) {
          const count = Math.min(atOnce, runs - first);
          await Promise.all(Array.from({ length: count }, (_, next) => run(first + next)));
        }
      });
    }
  });
}
