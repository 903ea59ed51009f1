// Vault and a registry in containers; the project's own image, built from its Dockerfile, signs with the one and stores in
// the other; cosign judges.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { StartedTestContainer } from 'testcontainers';
import { githubClaims, type Issuer, startIssuer } from '../../src/dev/issuer.ts';
import { cosignVerify } from '../peers/cosign.ts';
import { pushTestImage } from '../peers/image.ts';
import { requirePeers, succeeded, temporaryFolder } from '../peers/peer.ts';
import { freePort } from '../peers/process.ts';
import { docker } from './docker.ts';
import { image, projectImage } from './images.ts';
import { type ContainerRegistry, type ContainerVault, startProject, startRegistry, startVault } from './start.ts';

const audience = 'countersign.test';
const main = resolve(import.meta.dirname, '../../src/countersign.js');
const run = promisify(execFile);

export const imageSuite = (): void =>
  void describe('the image of the Dockerfile', () => {
    let tag = '';
    let issuer: Issuer;
    let vault: ContainerVault;
    let registry: ContainerRegistry;
    let container: StartedTestContainer;
    let grpc = '';
    let rest = '';

    before(async () => {
      requirePeers('cosign-3.1.1', 'crane');
      // One after the other: each writes some hundred megabytes.
      await image('vault');
      await image('registry');
      tag = await projectImage();
      [issuer, vault, registry] = await Promise.all([startIssuer({ audience }), startVault(), startRegistry()]);
      const [grpcPort, restPort, adminPort] = [await freePort(), await freePort(), await freePort()];
      grpc = `grpc://127.0.0.1:${grpcPort}`;
      rest = `http://127.0.0.1:${restPort}`;
      const plain = (port: number): object => ({ address: `127.0.0.1:${port}`, transport: 'plaintext' });
      const folder = temporaryFolder('config');
      chmodSync(folder, 0o755); // another user reads it
      const config = {
        listeners: { grpc: plain(grpcPort), rest: plain(restPort), admin: plain(adminPort) },
        callers: { oidc: [{ issuer: issuer.issuer, audience, allowPlainText: true }] },
        policy: { files: ['policy.yaml'] },
        keys: [
          {
            name: 'release',
            kind: 'vault',
            address: vault.address,
            key: 'release',
            login: { method: 'token', token: '${VAULT_TOKEN}' },
          },
        ],
        registry: { plainHttpHosts: [registry.host] },
        audit: { kind: 'stdout' },
      };
      const rule = {
        name: 'release',
        caller: { issuer: issuer.issuer, claims: { repository_id: '456789' } },
        verbs: ['sign', 'read-key'],
        keys: ['release'],
        repositories: [`${registry.host}/acme/*`],
        formats: ['bundle', 'simple-signing'],
      };
      writeFileSync(join(folder, 'config.yaml'), JSON.stringify(config));
      writeFileSync(join(folder, 'policy.yaml'), JSON.stringify({ rules: [rule] }));
      container = await startProject({
        image: tag,
        folder,
        environment: {
          VAULT_TOKEN: await vault.keyAndToken('release', 'ecdsa-p256'),
          COUNTERSIGN_HEALTH_URL: `http://127.0.0.1:${adminPort}/livez`,
        },
      });
    });
    after(async () => {
      await Promise.all([container?.stop(), vault?.stop(), registry?.stop(), issuer?.close()]);
    });

    const token = (): Promise<string> => issuer.mint(githubClaims({ repository_id: '456789' }));
    const inside = async (script: string): Promise<unknown> => {
      const { exitCode, output } = await container.exec(['/nodejs/bin/node', '-p', script]);
      assert.equal(exitCode, 0, output);
      return JSON.parse(output);
    };
    /** The command line of the clone, against the container. */
    const countersign = async (...args: string[]): Promise<string> => {
      const env = { ...process.env, COUNTERSIGN_SERVER: grpc, COUNTERSIGN_TOKEN: await token() };
      return (await run(process.execPath, [main, ...args], { env })).stdout;
    };
    const publicKeyFile = async (): Promise<string> => {
      const file = join(temporaryFolder('key'), 'release.pub');
      writeFileSync(file, await countersign('keys', 'get', 'release', '--pem'));
      return file;
    };

    test('signs over REST, and cosign verifies the bundle', async () => {
      const { ref, digest } = await pushTestImage(registry, 'acme/app:v1');
      const response = await fetch(`${rest}/v1/sign`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await token()}`, 'content-type': 'application/json' },
        body: JSON.stringify({ subject: { image: `${registry.host}/acme/app:v1` }, key: 'release' }),
      });
      const text = await response.text();
      assert.equal(response.status, 200, text);
      assert.equal(JSON.parse(text).digest, digest);
      succeeded(await cosignVerify({ key: await publicKeyFile(), ref }));
      const records = (await docker(['logs', container.getId()])).trim().split('\n');
      const events = records.map((line) => JSON.parse(line)).filter((record) => record.digest === digest);
      assert.deepEqual(
        events.map(({ event }) => event),
        ['intended', 'completed'],
      );
    });

    test('signs over gRPC, and cosign verifies the signature tag; another image stays unverified', async () => {
      const { ref } = await pushTestImage(registry, 'acme/legacy:v1');
      const { ref: unsigned } = await pushTestImage(registry, 'acme/unsigned:v1');
      await countersign('sign', ref, '--key', 'release', '--format', 'simple-signing');
      const key = await publicKeyFile();
      succeeded(await cosignVerify({ key, ref, legacy: true }));
      const refused = await cosignVerify({ key, ref: unsigned, legacy: true });
      assert.notEqual(refused.code, 0);
      assert.match(refused.stderr, /no signatures found/);
    });

    test('runs as 65532 on a root filesystem that cannot be written', async () => {
      assert.deepEqual(await inside('JSON.stringify([process.getuid(), process.getgid()])'), [65532, 65532]);
      const attempts = `JSON.stringify(['/x', '/app/x', '/etc/countersign/x', '/nodejs/x'].map((path) => {
      try { fs.writeFileSync(path, ''); return 'written'; } catch (error) { return error.code; }
    }))`;
      assert.deepEqual(await inside(attempts), ['EROFS', 'EROFS', 'EROFS', 'EROFS']);
    });

    test('holds no shell, no package manager, no build tools, nothing that production does not need', async () => {
      const walk = `JSON.stringify(fs.readdirSync('/').filter((top) => !['proc', 'sys', 'dev'].includes(top)).flatMap((top) =>
      fs.statSync('/' + top).isDirectory()
        ? fs.readdirSync('/' + top, { recursive: true, withFileTypes: true })
            .filter((entry) => !entry.isDirectory()).map((entry) => entry.parentPath + '/' + entry.name)
        : ['/' + top]))`;
      const files = (await inside(walk)) as readonly string[];
      assert.ok(files.includes('/app/src/serve.ts') && files.includes('/app/package.json'), 'the walk sees the image');
      const tools =
        /\/(sh|bash|dash|ash|busybox|npm|npx|corepack|yarn|pnpm|apt|apt-get|gcc|g\+\+|cc|make|python3?|git)$/;
      assert.deepEqual(
        files.filter((file) => tools.test(file)),
        [],
      );
      const own = files.filter(
        (file) => file.startsWith('/app/') && !/^\/app\/(src|node_modules|\.compile-cache)\//.test(file),
      );
      assert.deepEqual(own, ['/app/package.json']);
      const development =
        /\/node_modules\/(typescript|testcontainers|@biomejs|@bufbuild\/buf|fast-check|node-linux-\w+)\//;
      assert.deepEqual(
        files.filter((file) => development.test(file)),
        [],
      );
    });

    test('serves within seconds of its start', async (t) => {
      const { StartedAt: startedAt } = JSON.parse(
        await docker(['inspect', '--format', '{{json .State}}', container.getId()]),
      );
      const { stdout, stderr } = await run('docker', ['logs', '--timestamps', container.getId()]);
      const line = `${stdout}${stderr}`.split('\n').find((text) => text.includes('countersign serves')) ?? '';
      const tookMs = Date.parse(line.split(' ')[0] ?? '') - Date.parse(startedAt);
      t.diagnostic(`${tookMs} ms`);
      assert.ok(tookMs > 0 && tookMs < 10_000, `${tookMs} ms`);
    });

    test('without a configuration it says what is missing and ends', async () => {
      const alone = docker(['run', '--rm', '--read-only', '--network', 'none', tag]);
      await assert.rejects(alone, /\/etc\/countersign\/config\.yaml cannot be read \(ENOENT\)/);
    });

    test('SIGTERM ends it in order, with exit status 0', async () => {
      await docker(['stop', '--time', '30', container.getId()]);
      const state = JSON.parse(await docker(['inspect', '--format', '{{json .State}}', container.getId()]));
      assert.equal(state.ExitCode, 0);
      assert.equal(state.OOMKilled, false);
    });
  });
