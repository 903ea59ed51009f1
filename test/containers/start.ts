// Vault, a registry and countersign itself in containers, through testcontainers.
import { GenericContainer, PullPolicy, type StartedTestContainer, Wait } from 'testcontainers';
import { imagesAreLocal } from './docker.ts';
import { image } from './images.ts';

/** What can be pulled is pulled once; what was made here is never looked for elsewhere. */
export const fetched = <C extends GenericContainer>(container: C): C =>
  imagesAreLocal ? container.withPullPolicy(PullPolicy.neverPull()) : container;

export type ContainerVault = {
  readonly address: string;
  /** Makes a transit key, and a token that may read it and sign with it and nothing else. */
  keyAndToken(key: string, type: string): Promise<string>;
  stop(): Promise<void>;
};

const rootToken = 'of-a-test';

/** Vault in dev mode, with a transit engine. */
export const startVault = async (): Promise<ContainerVault> => {
  const container = await fetched(new GenericContainer(await image('vault')))
    .withEntrypoint(['/bin/vault'])
    .withCommand(['server', '-dev', '-dev-listen-address=0.0.0.0:8200', '-dev-no-store-token'])
    .withEnvironment({ VAULT_DEV_ROOT_TOKEN_ID: rootToken })
    .withExposedPorts(8200)
    .withWaitStrategy(Wait.forHttp('/v1/sys/health', 8200))
    .start();
  const address = `http://127.0.0.1:${container.getMappedPort(8200)}`;
  const post = async (path: string, body: object): Promise<string> => {
    const response = await fetch(`${address}/v1/${path}`, {
      method: 'POST',
      headers: { 'X-Vault-Token': rootToken },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`Vault: POST ${path}: ${response.status} ${text}`);
    return text;
  };
  await post('sys/mounts/transit', { type: 'transit' });
  return {
    address,
    keyAndToken: async (key, type) => {
      await post(`transit/keys/${key}`, { type });
      const policy = [
        `path "transit/keys/${key}"   { capabilities = ["read"] }`,
        `path "transit/sign/${key}"   { capabilities = ["update"] }`,
        `path "transit/sign/${key}/*" { capabilities = ["update"] }`,
      ].join('\n');
      await post('sys/policies/acl/countersign', { policy });
      const answer = JSON.parse(await post('auth/token/create', { policies: ['countersign'], ttl: '1h' }));
      return String(answer.auth.client_token);
    },
    stop: () => stopped(container),
  };
};

export type ContainerRegistry = { readonly host: string; readonly env: Record<string, string>; stop(): Promise<void> };

/** distribution, in memory. */
export const startRegistry = async (): Promise<ContainerRegistry> => {
  const configuration = { version: '0.1', storage: { inmemory: {} }, http: { addr: ':5000', secret: 'of-a-test' } };
  const container = await fetched(new GenericContainer(await image('registry')))
    .withEntrypoint(['/bin/registry'])
    .withCommand(['serve', '/registry.yml'])
    // JSON is YAML.
    .withCopyContentToContainer([{ content: JSON.stringify(configuration), target: '/registry.yml' }])
    .withEnvironment({ OTEL_TRACES_EXPORTER: 'none' })
    .withExposedPorts(5000)
    .withWaitStrategy(Wait.forAll([Wait.forHttp('/v2/', 5000), Wait.forLogMessage(/listening on/)]))
    .start();
  return { host: `127.0.0.1:${container.getMappedPort(5000)}`, env: {}, stop: () => stopped(container) };
};

/** countersign as the Dockerfile says it should be run; the image's own health check, only more often. */
export class Hardened extends GenericContainer {
  constructor(name: string) {
    super(name);
    this.hostConfig.ReadonlyRootfs = true;
    this.hostConfig.SecurityOpt = ['no-new-privileges'];
    this.createOpts.Healthcheck = { Interval: 500_000_000 };
  }
}

export type ProjectOptions = {
  readonly image: string;
  /** A folder with config.yaml, mounted read-only. */
  readonly folder: string;
  readonly environment: Record<string, string>;
};

/** Starts it in the network of the host, since the issuer of the test listens on loopback; waits until it is healthy. */
export const startProject = async ({ image: name, folder, environment }: ProjectOptions) =>
  fetched(new Hardened(name))
    .withNetworkMode('host')
    .withDroppedCapabilities('ALL')
    .withTmpFs({ '/tmp': 'rw,noexec,nosuid,size=64m' })
    .withBindMounts([{ source: folder, target: '/etc/countersign', mode: 'ro' }])
    .withEnvironment(environment)
    .withWaitStrategy(Wait.forHealthCheck())
    .withStartupTimeout(60_000)
    .start();

const stopped = async (container: StartedTestContainer): Promise<void> => void (await container.stop());
