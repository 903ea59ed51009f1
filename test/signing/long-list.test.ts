// A long list of referrers is not read where nothing in it is wanted; what it says must be the same as if it were.
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { pushImage } from '../../src/dev/image.ts';
import type { SignResult } from '../../src/model/result.ts';
import { createSkim } from '../../src/registry/skim.ts';
import { type SigningWorld, startSigningWorld } from './world.ts';

const existing = ({ outputs }: SignResult): readonly boolean[] => outputs.map((output) => output.existing);

/** Each takes about 500 bytes of the list. */
const many = 50;

const start = async (t: TestContext): Promise<SigningWorld> => {
  const world = await startSigningWorld(t);
  await pushImage(world.registry.host, 'acme/app', 'v1');
  return world;
};
const signMany = async (world: SigningWorld): Promise<void> => {
  for (let index = 0; index < many; index += 1) {
    await world.sign({ formats: ['bundle'], annotations: { build: `${index}` } });
  }
};

describe('among many bundles', () => {
  test('an equal one is found wherever it stands; what is not there is signed', async (t) => {
    const world = await start(t);
    await signMany(world);
    world.restart();
    for (const build of ['0', `${many / 2}`, `${many - 1}`]) {
      assert.deepEqual(existing(await world.sign({ formats: ['bundle'], annotations: { build } })), [true], build);
    }
    const other = { formats: ['bundle'], annotations: { build: 'other' } } as const;
    assert.deepEqual(existing(await world.sign(other)), [false]);
    world.restart();
    assert.deepEqual(existing(await world.sign(other)), [true]);
  });

  test('one without a mark is found among those with one', async (t) => {
    const world = await start(t);
    const unmarking = await startSigningWorld(t, { at: world.registry, record: 'none' });
    await signMany(world);
    const theirs = { formats: ['bundle'], annotations: { build: 'theirs' } } as const;
    assert.deepEqual(existing(await unmarking.sign(theirs)), [false]);
    unmarking.restart();
    assert.deepEqual(existing(await unmarking.sign(theirs)), [true]);
  });

  test('the same request is found by its mark', async (t) => {
    const world = await start(t);
    await signMany(world);
    const chosen = { requestId: 'build-17', idChosen: true };
    const asked = { formats: ['bundle'], ifAbsent: false, annotations: { build: 'mine' } } as const;
    assert.deepEqual(existing(await world.sign(asked, chosen)), [false]);
    world.restart();
    assert.deepEqual(existing(await world.sign(asked, chosen)), [true]);
  });

  test('signatures there have the other layout written; attestations have not', async (t) => {
    for (const [what, fill, expected] of [
      ['signatures', signMany, ['simple-signing', 'bundle']],
      ['attestations', attestMany, ['simple-signing']],
    ] as const) {
      const world = await start(t);
      await fill(world);
      world.restart();
      const { outputs } = await world.sign({ formats: ['simple-signing'], annotations: { build: 'new' } });
      assert.deepEqual(
        outputs.map(({ sealed }) => sealed.format),
        expected,
        what,
      );
    }
  });
});

const attestMany = async (world: SigningWorld): Promise<void> => {
  for (let index = 0; index < many; index += 1) {
    await world.attest({ formats: ['bundle'], predicateType: 'custom', predicate: Buffer.from(`{"build":${index}}`) });
  }
};

describe('a page is read', () => {
  const entry = (annotations: Readonly<Record<string, string>>): object => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: `sha256:${'0'.repeat(64)}`,
    size: 1_000,
    artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    annotations: { 'dev.sigstore.bundle.predicateType': 'https://sigstore.dev/cosign/sign/v1', ...annotations },
  });
  const page = (...last: readonly object[]): Buffer =>
    Buffer.from(
      JSON.stringify({
        manifests: [
          ...Array.from({ length: 100 }, (_, at) => entry({ 'dev.countersign/content': `mark-${at}.` })),
          ...last,
        ],
      }),
    );

  const url = 'https://registry.test/v2/acme/app/referrers/sha256:0';

  test('unless all in it is marked, and by other marks', () => {
    const skim = createSkim();
    assert.deepEqual(skim(page(), url, 'sig', ['mark-100.']), { entries: 100, sought: true });
    assert.deepEqual(skim(page(), url, 'att', ['mark-100.']), { entries: 100, sought: false });
    assert.equal(skim(page(), url, 'sig', ['mark-100.', 'mark-7.']), undefined);
    assert.equal(skim(page(entry({})), url, 'sig', ['mark-100.']), undefined);
    assert.equal(skim(page().subarray(0, 1_000), url, 'sig', ['mark-100.']), undefined, 'a short one');
  });

  test('whatever was seen there before, as if nothing had been', () => {
    const entries = fc.array(
      fc.oneof(
        { arbitrary: fc.constant(entry({ 'dev.countersign/content': 'mark-new.' })), weight: 8 },
        { arbitrary: fc.constant(entry({})), weight: 1 },
        {
          arbitrary: fc.constant(entry({ 'dev.countersign/content': 'm', 'dev.sigstore.bundle.predicateType': 'x' })),
          weight: 4,
        },
      ),
      { maxLength: 12 },
    );
    // Longer and longer lists as a registry has them, and then one that is cut, mixed or another altogether.
    const pages = fc
      .tuple(fc.array(entries, { minLength: 1, maxLength: 5 }), fc.nat({ max: 60_000 }), fc.nat({ max: 255 }))
      .map(([added, at, byte]) => {
        const growing = added.map((_, index) => page(...added.slice(0, index + 1).flat()));
        const changed = Buffer.from(growing.at(-1) ?? page());
        changed[at % changed.length] = byte;
        return [...growing, changed, ...growing.toReversed(), page()];
      });
    fc.assert(
      fc.property(pages, (seen) => {
        const skim = createSkim();
        for (const each of seen) {
          for (const suffix of ['sig', 'att'] as const) {
            const fresh = createSkim()(each, url, suffix, ['mark-new-2.']);
            assert.deepEqual(skim(each, url, suffix, ['mark-new-2.']), fresh);
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});
