// What deploy/compose.yaml says, done as Compose would: its environment, mounts, names and ports, its script in Vault, and
// the commands that its head tells a user to type.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { GenericContainer, Network, type StartedNetwork, type StartedTestContainer, Wait } from 'testcontainers';
import { type ComposeService, mountsOf, readCompose } from '../deploy/compose-file.ts';
import { cosignVerify } from '../peers/cosign.ts';
import { pushTestImage } from '../peers/image.ts';
import { isolated, peerPath, requirePeers, run, succeeded, temporaryFolder } from '../peers/peer.ts';
import { image, projectImage } from './images.ts';
import { fetched, Hardened } from './start.ts';

const services = readCompose();
const service = (name: string): ComposeService => services[name] ?? assert.fail(`compose.yaml has no ${name}`);

export const composeSuite = (): void =>
  void describe('compose.yaml', () => {
    let network: StartedNetwork;
    const started: StartedTestContainer[] = [];
    let vault = '';
    let registry = '';
    let rest = '';

    /** A service under its own name in the network, as Compose gives it one. */
    const start = async (name: string, container: GenericContainer): Promise<StartedTestContainer> => {
      const running = await fetched(container)
        .withNetwork(network)
        .withNetworkAliases(name)
        .withEnvironment(service(name).environment)
        .start();
      started.push(running);
      return running;
    };
    const addressOf = (container: StartedTestContainer, port: number): string =>
      `127.0.0.1:${container.getMappedPort(port)}`;

    before(async () => {
      requirePeers('cosign-3.1.1', 'crane', 'vault');
      const images = { vault: await image('vault'), registry: await image('registry'), own: await projectImage() };
      network = await new Network().start();

      const vaultContainer = await start(
        'vault',
        new GenericContainer(images.vault)
          .withEntrypoint(['/bin/vault'])
          .withCommand(service('vault').command)
          .withExposedPorts(8200)
          .withWaitStrategy(Wait.forHttp('/v1/sys/health', 8200)),
      );
      vault = `http://${addressOf(vaultContainer, 8200)}`;
      const registryConfig = {
        version: '0.1',
        storage: { inmemory: {} },
        http: { addr: ':5000', secret: 'of-a-test' },
      };
      const registryContainer = await start(
        'registry',
        new GenericContainer(images.registry)
          .withEntrypoint(['/bin/registry'])
          .withCommand(['serve', '/registry.yml'])
          .withCopyContentToContainer([{ content: JSON.stringify(registryConfig), target: '/registry.yml' }])
          .withExposedPorts(5000)
          .withWaitStrategy(Wait.forHttp('/v2/', 5000)),
      );
      registry = addressOf(registryContainer, 5000);
      await setUpVault();
      const countersign = await start(
        'countersign',
        new Hardened(images.own)
          .withDroppedCapabilities('ALL')
          .withTmpFs({ '/tmp': 'rw' })
          .withBindMounts(
            [...mountsOf(service('countersign'))].map(([target, source]) => ({ source, target, mode: 'ro' })),
          )
          .withExposedPorts(8081)
          .withWaitStrategy(Wait.forHealthCheck())
          .withStartupTimeout(60_000),
      );
      rest = `http://${addressOf(countersign, 8081)}`;
    });
    after(async () => {
      await Promise.all(started.map((container) => container.stop()));
      await network?.stop();
    });

    /** The script of vault-setup, by this machine's shell with the same Vault's command line. */
    const setUpVault = async (): Promise<void> => {
      const { entrypoint = [], command, environment } = service('vault-setup');
      const path = `${dirname(peerPath('vault') ?? '')}${delimiter}${process.env['PATH'] ?? ''}`;
      const env = isolated({ ...environment, VAULT_ADDR: vault, PATH: path });
      const [shell = '', ...args] = [...entrypoint, ...command];
      await promisify(execFile)(shell, args, { env });
    };

    /** What the head of compose.yaml runs in the container of Vault. */
    const token = async (): Promise<string> => {
      const login = ['login', '-method=userpass', '-token-only', 'username=ci', 'password=ci'];
      const { stdout: user } = succeeded(await run('vault', login, { env: { VAULT_ADDR: vault } }));
      const env = { VAULT_ADDR: vault, VAULT_TOKEN: user.trim() };
      return succeeded(await run('vault', ['read', '-field=token', 'identity/oidc/token/ci'], { env })).stdout.trim();
    };
    const call = async (path: string, body?: object): Promise<{ status: number; text: string }> => {
      const headers = { authorization: `Bearer ${await token()}`, 'content-type': 'application/json' };
      const init = body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) };
      const response = await fetch(`${rest}${path}`, init);
      return { status: response.status, text: await response.text() };
    };

    test('a user of Vault signs with the key in Vault, and cosign verifies outside', async () => {
      const { ref, digest } = await pushTestImage({ host: registry, env: {} }, 'acme/app:v1');
      const signed = await call('/v1/sign', { subject: { image: 'registry:5000/acme/app:v1' }, key: 'release' });
      assert.equal(signed.status, 200, signed.text);
      assert.equal(JSON.parse(signed.text).digest, digest);
      const key = await call('/v1/keys/release');
      assert.equal(key.status, 200, key.text);
      const file = join(temporaryFolder('key'), 'release.pub');
      writeFileSync(file, JSON.parse(key.text).key.signing.pem);
      succeeded(await cosignVerify({ key: file, ref }));
    });

    test('the policy keeps everything else out', async () => {
      const refused = await call('/v1/sign', { subject: { image: 'registry:5000/other/app:v1' }, key: 'release' });
      assert.equal(refused.status, 403, refused.text);
      assert.match(refused.text, /acme-from-main/);
    });

    test('the script of vault-setup can run again', setUpVault);
  });
