// Credentials as the programs of others have them: the same docker configuration and the same helper for crane, cosign and the service,
// before real registries; and the tokens of ECR from an emulator of AWS.
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createAmbientIdentities } from '../../src/keys/ambient-identities.ts';
import { openContext } from '../../src/model/context.ts';
import { createHttpClient } from '../../src/net/http.ts';
import { ecrApi, openEcrCredentials } from '../../src/registry/credentials/ecr.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { type ServiceWorld, type Signed, startServiceWorld, type VerdictJson } from '../service-world.ts';
import { cosignVerify } from './cosign.ts';
import { pushTestImage, type TestImage } from './image.ts';
import { startMinistack } from './ministack.ts';
import { type PeerName, requirePeers, skipWithout, temporaryFolder } from './peer.ts';
import { type Registry, startDistribution } from './registries.ts';

const peers = ['cosign-3.1.1', 'crane', 'distribution'] as const satisfies readonly PeerName[];
const plainHttpHosts = ['127.0.0.1'];

/** A helper that knows one host, and writes down which ones it was asked for. */
const helperFor = (folder: string, host: string, credentials: object): string => {
  const program = join(folder, 'docker-credential-countersign-test');
  writeFileSync(join(folder, 'answer'), JSON.stringify({ ServerURL: host, ...credentials }));
  const script = [
    '#!/bin/sh',
    'asked=$(cat)',
    `echo "$1 $asked" >> '${folder}/asked'`,
    `if [ "$asked" = '${host}' ]; then cat '${folder}/answer'; exit 0; fi`,
    `echo 'credentials not found in native keychain'; exit 1`,
  ];
  writeFileSync(program, `${script.join('\n')}\n`);
  chmodSync(program, 0o755);
  return program;
};

for (const [auth, by] of [
  ['basic', 'credHelpers'],
  ['token', 'credHelpers'],
  ['token', 'credsStore'],
] as const) {
  describe(`${auth} authentication, credentials from ${by}`, { skip: skipWithout(...peers) }, () => {
    const path = process.env['PATH'];
    const lines: string[] = [];
    let folder: string;
    let registry: Registry;
    let world: ServiceWorld;
    let image: TestImage;
    let env: Record<string, string>;

    before(async () => {
      requirePeers(...peers);
      folder = temporaryFolder('credentials');
      registry = await startDistribution({ auth });
      const { username = '', password = '' } = registry.credentials ?? {};
      helperFor(folder, registry.host, { Username: username, Secret: password });
      const name = 'countersign-test';
      const config = by === 'credsStore' ? { credsStore: name } : { credHelpers: { [registry.host]: name } };
      writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
      process.env['PATH'] = [folder, path].join(delimiter);
      env = { DOCKER_CONFIG: folder, PATH: process.env['PATH'] ?? '' };
      // crane gets in with this configuration, so it is one that others understand.
      image = await pushTestImage({ host: registry.host, env }, 'acme/app:v1');
      writeFileSync(join(folder, 'asked'), '');
      world = await startServiceWorld({
        keys: [{ name: 'ours', kind: 'local', generate: 'ecdsa-p256-sha256' }],
        plainHttpHosts,
        settings: { registry: { plainHttpHosts, dockerConfig: join(folder, 'config.json') } },
        logger: createLogger({ level: 'debug', format: 'json' }, { write: (line) => void lines.push(line) }),
      });
    });
    after(async () => {
      process.env['PATH'] = path;
      await world?.stop();
      await registry?.stop();
    });

    it('signs, and cosign verifies with the same configuration', async () => {
      const scopes = registry.tokens?.scopes.length ?? 0;
      const formats = ['FORMAT_BUNDLE', 'FORMAT_SIMPLE_SIGNING'];
      const signed = await world.ok<Signed>('/v1/sign', { subject: { image: image.ref }, key: 'ours', formats });
      assert.equal(signed.digest, image.digest);
      const subject = { image: image.ref };
      const verdict = await world.ok<VerdictJson>('/v1/verify', { subject, keys: [{ key: 'ours' }] });
      assert.equal(verdict.verified, true);
      // All of that with one run of the helper, for the host alone, and with tokens for this repository alone.
      assert.equal(readFileSync(join(folder, 'asked'), 'utf8'), `get ${registry.host}\n`);
      const granted = registry.tokens?.scopes.slice(scopes) ?? [];
      assert.equal(granted.length > 0, auth === 'token');
      for (const scope of granted) assert.match(scope, /^repository:acme\/app:pull(?:,push)?$/);
      const publicKey = join(folder, 'ours.pub');
      writeFileSync(publicKey, await world.publicKey('ours'));
      for (const legacy of [false, true]) {
        assert.equal(
          (await cosignVerify({ key: publicKey, ref: image.ref, legacy, env })).code,
          0,
          `legacy: ${legacy}`,
        );
      }
    });

    it('writes no secret anywhere', () => {
      const password = registry.credentials?.password ?? 'nothing';
      const encoded = Buffer.from(`${registry.credentials?.username}:${password}`).toString('base64');
      const everything = [lines.join(''), readFileSync(world.auditFile, 'utf8')].join('\n');
      assert.ok(everything.length > 100);
      for (const secret of [password, encoded]) assert.equal(everything.includes(secret), false);
    });
  });
}

describe('ECR by MiniStack', { skip: skipWithout('ministack') }, () => {
  it('gives the token of a registry for a request signed with the identity of the environment', async (t) => {
    requirePeers('ministack');
    const aws = await startMinistack();
    t.after(() => aws.stop());
    const kept = Object.fromEntries(Object.keys(aws.env).map((name) => [name, process.env[name]]));
    Object.assign(process.env, aws.env);
    t.after(() => {
      for (const [name, value] of Object.entries(kept)) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    });
    const http = createHttpClient({ plainHttpHosts });
    const identities = createAmbientIdentities({ createHttp: (options) => createHttpClient(options) });
    t.after(() => Promise.all([http.close(), identities.close()]));
    const host = '111122223333.dkr.ecr.eu-central-1.amazonaws.com';
    const source = openEcrCredentials(identities, http, (asked) => ({ ...ecrApi(asked), url: `${aws.endpoint}/` }));
    const owned = openContext('ecr', 60_000);
    t.after(owned.dispose);
    const credential = await source.fetch(host, owned.context, false);
    assert.ok(credential?.kind === 'basic' && credential.ownRealm === true);
    assert.equal(credential.username, 'AWS');
    assert.notEqual(credential.password, '');
  });
});
