// Everything that cosign makes with a key, judged by our Verify: it counts as it is, and not with anything changed.
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openContext } from '../../src/model/context.ts';
import type { Attached } from '../../src/model/signature.ts';
import { createHttpClient } from '../../src/net/http.ts';
import type { Registry as RegistryPort } from '../../src/registry/port.ts';
import { parseReference } from '../../src/registry/reference.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { type ServiceWorld, startServiceWorld, type VerdictJson } from '../service-world.ts';
import {
  type CosignVersion,
  cosignAttest,
  cosignAttestBlob,
  cosignSign,
  cosignSignBlob,
  importKeyPair,
  type KeyPair,
} from './cosign.ts';
import {
  changeBare,
  forgedValue,
  forgePayload,
  sealedFrom,
  signedValue,
  withChangedSignature,
  withForgedPayload,
} from './forge.ts';
import { pushTestImage, type TestImage } from './image.ts';
import { requirePeers, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { type Registry, startDockerRegistry, startGgcrRegistry } from './registries.ts';
import { changeBase64Member, changeByte } from './tamper.ts';

const keyMakers: Readonly<Record<string, () => { readonly privateKey: KeyObject; readonly publicKey: KeyObject }>> = {
  'ecdsa-p256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'ecdsa-p384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'ecdsa-p521': () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  'rsa-2048': () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  'rsa-3072': () => generateKeyPairSync('rsa', { modulusLength: 3072 }),
  'rsa-4096': () => generateKeyPairSync('rsa', { modulusLength: 4096 }),
  ed25519: () => generateKeyPairSync('ed25519'),
};
/** A verdict, with where each signature lies. */
type Verdict = VerdictJson & {
  readonly signatures: readonly { readonly key: string; readonly stored?: { readonly layout: string } }[];
};

const stranger = 'stranger';

const predicateType = 'https://example.com/predicate/v1';
const otherType = 'https://example.com/predicate/v2';
const text = (bytes: Buffer): string => bytes.toString('utf8');

type Made = {
  readonly by: CosignVersion;
  readonly legacy: boolean;
  readonly verb: 'sign' | 'attest';
};
const made: readonly Made[] = (['sign', 'attest'] as const).flatMap((verb) => [
  { by: '3.1.1', legacy: false, verb },
  { by: '3.1.1', legacy: true, verb },
  { by: '2.5.0', legacy: true, verb },
]);

const needed = ['cosign-3.1.1', 'cosign-2.5.0', 'ggcr-registry', 'docker-registry', 'crane'] as const;

describe('what cosign makes, by our Verify', { skip: skipWithout(...needed) }, () => {
  const folder = temporaryFolder('cosign-made');
  const predicate = join(folder, 'predicate.json');
  const blobPath = join(folder, 'blob');
  const blob = Buffer.from('a blob that cosign signs\n');
  const pairs = new Map<string, KeyPair>();
  let referrers: Registry;
  let tags: Registry;
  /** Where changed signatures lie: the same images, by another host. */
  let forged: Registry;
  let world: ServiceWorld;
  let port: RegistryPort;

  before(async () => {
    requirePeers(...needed);
    writeFileSync(predicate, JSON.stringify({ stage: signedValue }));
    writeFileSync(blobPath, blob);
    [referrers, tags, forged] = await Promise.all([startGgcrRegistry(), startDockerRegistry(), startGgcrRegistry()]);
    for (const [name, make] of [...Object.entries(keyMakers), [stranger, keyMakers['ecdsa-p256']] as const]) {
      const pem = make?.().privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
      pairs.set(name, await importKeyPair(join(folder, name), pem ?? assert.fail()));
    }
    const plainHttpHosts = [referrers.host, tags.host, forged.host];
    port = createRegistry({
      http: createHttpClient({ plainHttpHosts }),
      credentials: () => undefined,
      plainHttpHosts,
      tries: 1,
    });
    world = await startServiceWorld({
      plainHttpHosts,
      keys: [...pairs].map(([name, { privateKey, password }]) => ({ name, kind: 'local', file: privateKey, password })),
    });
  });

  after(async () => {
    await world?.stop();
    await port?.close();
    await Promise.all([referrers?.stop(), tags?.stop(), forged?.stop()]);
  });

  const pairOf = (name: string): KeyPair => pairs.get(name) ?? assert.fail(`no key ${name}`);
  const pemOf = (name: string): string => readFileSync(pairOf(name).publicKey, 'utf8');

  const verify = (subject: object, key: object, more: object = {}): Promise<Verdict> =>
    world.ok<Verdict>('/v1/verify', { subject, keys: [key], ...more });

  /** Accepted with the key in both forms; refused with another key, and as what it is not. */
  const judge = async (key: string, verb: Made['verb'], subject: object, brought: object): Promise<void> => {
    const expected = verb === 'attest' ? { ...brought, predicateType } : brought;
    for (const [form, trusted] of [
      ['as PEM', { pem: pemOf(key) }],
      ['as configured', { key }],
    ] as const) {
      accepted(await verify(subject, trusted, expected), `with ${key} ${form}`);
    }
    refused(await verify(subject, { pem: pemOf(stranger) }, expected), ['WRONG_KEY'], 'with another key');
    refused(await verify(subject, { key: stranger }, expected), ['WRONG_KEY'], 'with another configured key');
    const asOther = ['WRONG_PREDICATE_TYPE', 'WRONG_CONTENT'];
    if (verb === 'sign') {
      refused(await verify(subject, { key }, { ...brought, predicateType }), asOther, 'as an attestation');
    } else {
      refused(await verify(subject, { key }, brought), asOther, 'as a signature');
      const wrongType = { ...brought, predicateType: otherType };
      refused(await verify(subject, { key }, wrongType), ['WRONG_PREDICATE_TYPE'], 'as of another type');
    }
  };

  /** Changed signatures beside the same image elsewhere do not count; the unchanged one among them does, and not beside another. */
  const judgeForged = async (key: string, image: TestImage, name: string, expected: object): Promise<void> => {
    const owned = openContext('forger', 20_000);
    try {
      const [good, ...more] = await port.attachments(
        await port.resolve(parseReference(image.ref), owned.context),
        undefined,
        owned.context,
      );
      assert.ok(good !== undefined && more.length === 0);
      const copy = await pushTestImage(forged, name);
      assert.equal(copy.digest, image.digest);
      const target = await port.resolve(parseReference(copy.ref), owned.context);
      const put = (attached: Attached, to = target) => port.attach(to, sealedFrom(attached), undefined, owned.context);

      await put(withForgedPayload(good));
      await put(withChangedSignature(good));
      const changed = await verify({ image: copy.ref }, { key }, expected);
      assert.equal(changed.signatures.length, 2, 'both are found');
      refused(changed, ['TAMPERED', 'WRONG_KEY'], 'changed ones');

      await put(good);
      const among = await verify({ image: copy.ref }, { key }, expected);
      assert.equal(among.verified, true, among.summary);
      assert.equal(among.signatures.filter(({ counts }) => counts).length, 1);

      const other = await pushTestImage(forged, `other/${name}`);
      await put(good, await port.resolve(parseReference(other.ref), owned.context));
      refused(await verify({ image: other.ref }, { key }, expected), ['DIGEST_MISMATCH'], 'beside another image');
    } finally {
      owned.dispose();
    }
  };

  for (const key of Object.keys(keyMakers)) {
    describe(key, { concurrency: 2 }, () => {
      for (const each of made) {
        const { by, legacy, verb } = each;
        const call = { version: by, legacy };
        const what = `${verb} by ${by}, ${legacy ? 'legacy' : 'bundle'}`;
        const places = [
          { place: 'beside an image', registryOf: () => referrers, layout: 'LAYOUT_REFERRER' },
          { place: 'beside an image by fallback tag', registryOf: () => tags, layout: 'LAYOUT_FALLBACK_TAG' },
        ];

        for (const { place, registryOf, layout } of legacy ? places.slice(0, 1) : places) {
          it(`${what}, ${place}`, async () => {
            const name = `${key}/${verb}-${by}-${layout === 'LAYOUT_REFERRER' ? 'one' : 'two'}-${legacy ? 'legacy' : 'bundle'}:v1`;
            const image = await pushTestImage(registryOf(), name);
            const signing = { ...call, key: pairOf(key).privateKey, ref: image.ref };
            succeeded(
              verb === 'sign'
                ? await cosignSign({ ...signing, annotations: { stage: signedValue } })
                : await cosignAttest({ ...signing, type: predicateType, predicate }),
            );
            const subject = { image: image.ref };
            await judge(key, verb, subject, {});

            const expected = verb === 'attest' ? { predicateType } : {};
            const { signatures } = await verify(subject, { key }, expected);
            assert.equal(signatures[0]?.stored?.layout, legacy ? 'LAYOUT_TAG' : layout);
            if (verb === 'sign') {
              const annotated = (stage: string): Promise<Verdict> =>
                verify(subject, { key }, { annotations: { stage } });
              accepted(await annotated(signedValue), 'with its annotation');
              refused(await annotated(forgedValue), ['ANNOTATION_MISMATCH'], 'with another annotation');
            }
            await judgeForged(key, image, name, expected);
          });
        }

        it(`${what}, over a blob`, async () => {
          const output = join(folder, `${key}-${verb}-${by}-${legacy}`);
          const signing = { ...call, key: pairOf(key).privateKey, blob: blobPath, output };
          succeeded(
            verb === 'sign'
              ? await cosignSignBlob(signing)
              : await cosignAttestBlob({ ...signing, type: predicateType, predicate }),
          );
          const good = readFileSync(output);
          const subject = { blob: { name: 'blob', content: blob.toString('base64') } };
          const brought = (signature: Buffer): object => ({ signatures: [signature.toString('base64')] });
          await judge(key, verb, subject, brought(good));

          const expected = verb === 'attest' ? { predicateType } : {};
          const other = { blob: { name: 'blob', content: changeByte(blob).toString('base64') } };
          refused(
            await verify(other, { key }, { ...brought(good), ...expected }),
            ['DIGEST_MISMATCH', 'WRONG_KEY', 'TAMPERED'],
            'over another blob',
          );
          const digest = { name: 'blob', digest: `sha256:${createHash('sha256').update(blob).digest('hex')}` };
          const byDigest = await verify({ blobDigest: digest }, { key }, { ...brought(good), ...expected });
          if (verb === 'attest' || /p256|rsa/.test(key)) accepted(byDigest, 'by digest');
          else refused(byDigest, ['CONTENT_NEEDED'], 'by digest');

          const isBare = verb === 'sign' && legacy;
          const forgeries = [
            isBare
              ? changeBare(good)
              : Buffer.from(changeBase64Member(text(good), verb === 'sign' ? 'signature' : 'sig')),
            ...(verb === 'attest' ? [forgePayload(good)] : []),
          ];
          for (const forgery of forgeries) {
            const reasons = ['TAMPERED', 'WRONG_KEY'];
            refused(await verify(subject, { key }, { ...brought(forgery), ...expected }), reasons, 'a changed one');
          }
          const together = [...forgeries, good].map((bytes) => bytes.toString('base64'));
          const verdict = await verify(subject, { key }, { signatures: together, ...expected });
          assert.equal(verdict.verified, true);
          assert.deepEqual(
            verdict.signatures.map(({ counts }) => counts),
            together.map((_, index) => index === together.length - 1),
          );
        });
      }
    });
  }
});

const accepted = (verdict: Verdict, what: string): void => {
  assert.equal(verdict.verified, true, `${what}: ${verdict.summary}`);
  assert.deepEqual(
    verdict.signatures.map(({ counts, reason }) => [counts, reason]),
    [[true, 'OK']],
    what,
  );
};

/** Nothing counts, there is something that could have, and each is refused for one of these reasons. */
const refused = (verdict: Verdict, reasons: readonly string[], what: string): void => {
  assert.equal(verdict.verified, false, `${what} was accepted: ${verdict.summary}`);
  assert.notEqual(verdict.signatures.length, 0, `${what}: nothing was found`);
  for (const { counts, reason, message } of verdict.signatures) {
    assert.equal(counts, false);
    assert.ok(reasons.includes(reason), `${what} was refused for ${reason}: ${message}`);
  }
};
