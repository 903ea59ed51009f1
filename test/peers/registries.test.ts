// What the service stores in real registries, as cosign, crane and oras find it there, and beside what cosign stores.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ServiceWorld, type Signed, startServiceWorld, type VerdictJson } from '../service-world.ts';
import { cosignSign, cosignVerify, generateKeyPair, type KeyPair } from './cosign.ts';
import { pushTestImage, type TestImage } from './image.ts';
import { type PeerName, requirePeers, run, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import {
  dockerConfig,
  type Registry,
  startCraneRegistry,
  startDistribution,
  startDockerRegistry,
  startEmbeddedRegistry,
  startGgcrRegistry,
} from './registries.ts';

const peers = ['cosign-3.1.1', 'cosign-2.5.0', 'crane', 'oras'] as const;
const simpleSigning = 'application/vnd.dev.cosign.simplesigning.v1+json';
const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const signType = 'https://sigstore.dev/cosign/sign/v1';
const predicateType = 'https://example.com/predicate/v1';
const keys = [{ name: 'ours', kind: 'local', generate: 'ecdsa-p256-sha256' }];
const plainHttpHosts = ['127.0.0.1'];
type How = 'open' | 'registry.credentials' | 'dockerConfig';
type Kind = {
  readonly label: string;
  readonly peer: PeerName;
  readonly referrers: boolean;
  /** Its list of referrers has their type and annotations; otherwise the media type of the config, if it has a list. */
  readonly listsTypes?: boolean;
  readonly how: How;
  readonly start: () => Promise<Registry>;
};
const kinds: readonly Kind[] = [
  { label: 'ggcr', peer: 'ggcr-registry', referrers: true, how: 'open', start: () => startGgcrRegistry() },
  {
    label: 'ggcr without referrers',
    peer: 'ggcr-registry',
    referrers: false,
    how: 'open',
    start: () => startGgcrRegistry({ referrers: false }),
  },
  { label: 'crane registry serve', peer: 'crane', referrers: false, how: 'open', start: startCraneRegistry },
  {
    label: 'the embedded one',
    peer: 'crane',
    referrers: true,
    listsTypes: true,
    how: 'open',
    start: startEmbeddedRegistry,
  },
  { label: 'distribution 2.8', peer: 'docker-registry', referrers: false, how: 'open', start: startDockerRegistry },
  ...(['registry.credentials', 'dockerConfig'] as const).flatMap((how) =>
    (['basic', 'token'] as const).map((auth) => ({
      label: `distribution 3.1, ${auth} authentication by ${how}`,
      peer: 'distribution' as const,
      referrers: false,
      how,
      start: () => startDistribution({ auth }),
    })),
  ),
];

type Credentials = NonNullable<Registry['credentials']>;

/** A service that knows these credentials, told as `how` says. */
const serviceFor = (registry: Registry, how: How, credentials = registry.credentials): Promise<ServiceWorld> =>
  startServiceWorld({
    keys,
    plainHttpHosts,
    settings: { registry: { plainHttpHosts, ...told(registry, how, credentials) } },
  });

const told = (registry: Registry, how: How, credentials: Credentials | undefined): object => {
  if (how === 'open' || credentials === undefined) return {};
  return how === 'dockerConfig'
    ? { dockerConfig: join(dockerConfig(registry.host, credentials), 'config.json') }
    : { credentials: { [registry.host]: credentials } };
};

type Manifest = {
  readonly artifactType?: string;
  readonly subject?: { readonly digest: string; readonly mediaType: string };
  readonly layers: readonly { readonly mediaType: string }[];
};
type Referrer = {
  readonly digest: string;
  readonly artifactType: string;
  readonly annotations?: Record<string, string>;
};
type Discovered = { readonly referrers: readonly Referrer[] };
type Verdict = VerdictJson & {
  readonly signatures: readonly { readonly key: string; readonly predicateType?: string }[];
};

const counting = ({ signatures }: VerdictJson): number => signatures.filter(({ counts }) => counts).length;

for (const kind of kinds) {
  describe(`stored in ${kind.label}`, { skip: skipWithout(...peers, kind.peer) }, () => {
    let registry: Registry;
    let world: ServiceWorld;
    let theirs: KeyPair;
    let publicKey: string;
    let image: TestImage;
    let signed: Signed;

    before(async () => {
      requirePeers(...peers, kind.peer);
      const folder = temporaryFolder('registries');
      [registry, theirs] = await Promise.all([kind.start(), generateKeyPair(folder)]);
      world = await serviceFor(registry, kind.how);
      publicKey = join(folder, 'ours.pub');
      writeFileSync(publicKey, await world.publicKey('ours'));
      image = await pushTestImage(registry, 'acme/multi:v1', { platforms: ['linux/amd64', 'linux/arm64'] });
    });
    after(async () => {
      await world?.stop();
      await registry?.stop();
    });

    const signByTag = (formats: readonly string[]): Promise<Signed> =>
      world.ok<Signed>('/v1/sign', {
        subject: { image: `${image.repository}:${image.tag}` },
        key: 'ours',
        formats,
        ifAbsent: false,
      });
    const verify = async (trusted: object, more: object = {}, ref = image.ref): Promise<Verdict> =>
      world.ok<Verdict>('/v1/verify', { subject: { image: ref }, keys: [trusted], ...more });
    const byCosign = async (key: string, legacy: boolean, attestationType?: string): Promise<number> =>
      (await cosignVerify({ key, ref: image.ref, legacy, attestationType, env: registry.env })).code;
    const manifest = async (ref: string): Promise<Manifest> =>
      JSON.parse(succeeded(await run('crane', ['manifest', ref, '--insecure'], { env: registry.env })).stdout);
    const discover = async (): Promise<Discovered> =>
      JSON.parse(
        succeeded(await run('oras', ['discover', '--plain-http', '--format', 'json', image.ref], { env: registry.env }))
          .stdout,
      );

    it('an index, signed by its tag in both formats and attested: cosign accepts all of it', async () => {
      signed = await signByTag(['FORMAT_SIMPLE_SIGNING', 'FORMAT_BUNDLE']);
      assert.equal(signed.digest, image.digest);
      const attested = await world.ok<Signed>('/v1/attest', {
        subject: { image: image.ref },
        key: 'ours',
        formats: ['FORMAT_DSSE', 'FORMAT_BUNDLE'],
        predicateType,
        predicate: Buffer.from('{"by":"a test"}').toString('base64'),
      });
      const layouts = ['LAYOUT_TAG', kind.referrers ? 'LAYOUT_REFERRER' : 'LAYOUT_FALLBACK_TAG'];
      for (const { outputs } of [signed, attested]) {
        assert.deepEqual(
          outputs.map(({ stored }) => stored?.layout),
          layouts,
        );
      }
      for (const legacy of [false, true]) {
        assert.equal(await byCosign(publicKey, legacy), 0);
        assert.equal(await byCosign(publicKey, legacy, predicateType), 0);
        assert.notEqual(await byCosign(theirs.publicKey, legacy), 0);
        assert.notEqual(await byCosign(theirs.publicKey, legacy, predicateType), 0);
      }
      const older = { version: '2.5.0', legacy: true, key: publicKey, ref: image.ref, env: registry.env } as const;
      succeeded(await cosignVerify(older));
      succeeded(await cosignVerify({ ...older, attestationType: predicateType }));
    });

    it('crane, oras and `cosign tree` find each where the answer says', async () => {
      const [sig, bundle] = signed.outputs.map(({ stored }) => stored ?? assert.fail('not stored'));
      assert.ok(sig && bundle);
      const layers = await manifest(`${sig.repository}:${sig.tag}`);
      assert.deepEqual(
        layers.layers.map(({ mediaType }) => mediaType),
        [simpleSigning],
      );
      const referrer = await manifest(`${bundle.repository}@${bundle.digest}`);
      assert.equal(referrer.artifactType, bundleType);
      assert.deepEqual(
        [referrer.subject?.digest, referrer.subject?.mediaType],
        [image.digest, 'application/vnd.oci.image.index.v1+json'],
      );

      const { referrers } = await discover();
      assert.ok(referrers.some(({ digest }) => digest === bundle.digest));
      // go-containerregistry's registry lists the media type of the config instead, of cosign's own bundles as well, and
      // no annotations. Where there is no API the list is ours.
      const incomplete = kind.referrers && kind.listsTypes !== true;
      const types = incomplete ? 'application/vnd.oci.empty.v1+json' : bundleType;
      assert.deepEqual(
        referrers.map(({ artifactType }) => artifactType),
        [types, types],
      );
      assert.deepEqual(
        referrers.map(({ annotations = {} }) => annotations['dev.sigstore.bundle.predicateType']).sort(),
        incomplete ? [undefined, undefined] : [predicateType, signType],
      );
      const tree = succeeded(await run('cosign-3.1.1', ['tree', image.ref], { env: registry.env })).stdout;
      const tag = image.digest.replace(':', '-');
      for (const part of [`:${tag}.sig`, `:${tag}.att`, `@${bundle.digest}`, signType, predicateType]) {
        assert.ok(tree.includes(part), `${part} is not in\n${tree}`);
      }
    });

    it('its signature is not one of its platforms', async () => {
      const [platform] = image.platforms;
      assert.ok(platform);
      const verdict = await verify({ key: 'ours' }, {}, platform.ref);
      assert.deepEqual([verdict.verified, verdict.signatures.length], [false, 0]);
      await world.ok<Signed>('/v1/sign', { subject: { image: platform.ref }, key: 'ours' });
      assert.equal((await verify({ key: 'ours' }, {}, platform.ref)).verified, true);
      succeeded(await cosignVerify({ key: publicKey, ref: platform.ref, env: registry.env }));
    });

    it('cosign signs beside it with its own key, then the service again: all of them are found', async () => {
      const before = counting(await verify({ key: 'ours' }));
      assert.equal(before, 2);
      for (const legacy of [false, true]) {
        succeeded(await cosignSign({ key: theirs.privateKey, ref: image.ref, legacy, env: registry.env }));
      }
      await signByTag(['FORMAT_SIMPLE_SIGNING', 'FORMAT_BUNDLE']);

      const pem = readFileSync(theirs.publicKey, 'utf8');
      assert.equal(counting(await verify({ key: 'ours' })), 4);
      assert.equal(counting(await verify({ pem })), 2);
      assert.equal(counting(await verify({ key: 'ours' }, { predicateType })), 2);
      assert.equal(counting(await verify({ pem }, { predicateType })), 0);
      for (const legacy of [false, true]) {
        assert.equal(await byCosign(publicKey, legacy), 0);
        assert.equal(await byCosign(theirs.publicKey, legacy), 0);
        assert.equal(await byCosign(publicKey, legacy, predicateType), 0);
      }
      const tag = image.digest.replace(':', '-');
      assert.equal((await manifest(`${image.repository}:${tag}.sig`)).layers.length, 3);
      assert.equal((await discover()).referrers.length, 4);
    });

    it('signatures in another repository: cosign finds them there by COSIGN_REPOSITORY, and nothing beside the image', async () => {
      const apart = await pushTestImage(registry, 'acme/apart:v1');
      const repository = `${registry.host}/signatures/all`;
      const answer = await world.ok<Signed>('/v1/sign', {
        subject: { image: apart.ref },
        key: 'ours',
        formats: ['FORMAT_SIMPLE_SIGNING', 'FORMAT_BUNDLE'],
        storage: { mode: 'MODE_ATTACH', repository },
      });
      assert.deepEqual(
        answer.outputs.map(({ stored }) => stored?.repository),
        [repository, repository],
      );
      for (const legacy of [false, true]) {
        const call = { key: publicKey, ref: apart.ref, legacy };
        const env = { ...registry.env, COSIGN_REPOSITORY: repository };
        succeeded(await cosignVerify({ ...call, env }));
        assert.notEqual((await cosignVerify({ ...call, env: registry.env })).code, 0);
        assert.notEqual((await cosignVerify({ ...call, env, key: theirs.publicKey })).code, 0);
        succeeded(await cosignSign({ ...call, key: theirs.privateKey, env }));
      }
      assert.equal(counting(await verify({ key: 'ours' }, { repository }, apart.ref)), 2);
      const pem = readFileSync(theirs.publicKey, 'utf8');
      assert.equal(counting(await verify({ pem }, { repository }, apart.ref)), 2);
      assert.equal((await verify({ key: 'ours' }, {}, apart.ref)).signatures.length, 0);
    });

    if (kind.how !== 'open') {
      it('wrong credentials and none are refused, naming the registry and no secret', async () => {
        const password = 'not-the-password-of-anybody';
        for (const how of [kind.how, 'open'] as const) {
          const stranger = await serviceFor(registry, how, { username: 'robot', password });
          try {
            for (const [path, more] of [
              ['/v1/sign', { key: 'ours' }],
              ['/v1/verify', { keys: [{ key: 'ours' }] }],
            ] as const) {
              const { status, body } = await stranger.call<{
                readonly code: string;
                readonly reason: string;
                readonly detail: string;
              }>(path, { subject: { image: image.ref }, ...more });
              assert.deepEqual(
                [status, body.code, body.reason],
                [400, 'failed_precondition', 'REGISTRY_ACCESS_DENIED'],
                body.detail,
              );
              assert.ok(body.detail.includes(registry.host), body.detail);
              const said = JSON.stringify(body) + readFileSync(stranger.auditFile, 'utf8');
              assert.ok(
                !said.includes(password) && !said.includes(Buffer.from(`robot:${password}`).toString('base64')),
              );
            }
          } finally {
            await stranger.stop();
          }
        }
      });
    }
  });
}
