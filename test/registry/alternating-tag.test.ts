// A tag that leads to another of two images at each request: what is signed, what is told and what carries it are one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { formats } from '../../src/formats/formats.ts';
import type { FormatName, Sealed } from '../../src/model/signature.ts';
import type { Digest } from '../../src/model/digest.ts';
import { startFaultWorld } from './fault-world.ts';
import { fetchJson } from './world.ts';

const rounds = 1_000;
const together = 8;

test(`a tag that alternates between two images, ${rounds} signs: signed digest = reported digest = pushed subject`, async (t) => {
  const world = await startFaultWorld(t, { settleMs: 0 });
  const { registry } = world;
  const other = await pushImage(registry.host, 'acme/app', 'v2', { content: 'something else' });
  const images = [world.digest, other.digest] as const;
  let asked = 0;
  registry.script({
    path: /\/manifests\/v1$/,
    fault: { kind: 'instead', url: () => `/v2/acme/app/manifests/${images[asked++ % 2]}` },
  });

  const seen = new Map<Digest, number>();
  const repositoryUrl = `http://${registry.host}/v2/acme/app`;
  const signOnce = async (round: number): Promise<void> => {
    const format: FormatName = round % 2 === 0 ? 'bundle' : 'simple-signing';
    const { result, error } = await world.sign(
      { formats: [format], ifAbsent: false, annotations: { round: String(round) } },
      60_000,
    );
    assert.equal(error, undefined, error?.message);
    assert.ok(result !== undefined);
    assert.ok(
      images.some((digest) => digest === result.digest),
      result.digest,
    );
    seen.set(result.digest, (seen.get(result.digest) ?? 0) + 1);

    for (const { sealed, stored } of result.outputs) {
      assert.deepEqual(digestsIn(sealed), [result.digest], 'signed');
      const manifest: { readonly subject?: { readonly digest: string } } = await fetchJson(
        `${repositoryUrl}/manifests/${stored?.digest}`,
      );
      if (sealed.attachment.by === 'referrer') assert.equal(manifest.subject?.digest, result.digest, 'pushed subject');
      else assert.equal(stored?.tag, `${result.digest.replace(':', '-')}.sig`, 'pushed tag');
    }
  };

  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < rounds) await signOnce(next++);
  };
  await Promise.all(Array.from({ length: together }, worker));
  for (const image of images) assert.ok((seen.get(image) ?? 0) > 0, 'both were signed');
  assert.equal(
    [...seen.values()].reduce((sum, count) => sum + count, 0),
    rounds,
  );
});

/** What the signature itself covers. */
const digestsIn = ({ format, content, attachment }: Sealed): readonly Digest[] => {
  const opened = formats[format].open(content, attachment.annotations).content;
  if (opened.kind === 'image') return [opened.digest];
  return opened.kind === 'statement' ? opened.subjects.map(({ digest }) => digest) : [];
};
