// Real OCI registries on loopback: with and without the referrers API, open, and behind basic or token authentication.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startRegistry } from '../../src/dev/registry.ts';
import { temporaryFolder, type PeerName } from './peer.ts';
import { answers, startPeer, type Running } from './process.ts';
import { startTokenServer, type Credentials, type TokenServer } from './tokens.ts';

export interface Registry {
  /** `127.0.0.1:PORT`, the first part of a reference. */
  readonly host: string;
  readonly url: string;
  readonly port: number;
  /** What opens it, where it asks. */
  readonly credentials: Credentials | undefined;
  /** The environment in which a peer finds these credentials (DOCKER_CONFIG), else empty. */
  readonly env: Readonly<Record<string, string>>;
  /** The registry's own token server, with `auth: 'token'`. */
  readonly tokens: TokenServer | undefined;
  /** Where it keeps its files, if it keeps any: `docker/registry/v2/...` lies below. */
  readonly storage: string | undefined;
  /** The last of what it printed. */
  output(): string;
  stop(): Promise<void>;
}

const credentials: Credentials = { username: 'robot', password: 'correct-horse-battery' };
/** bcrypt of the password above. */
const htpasswd = 'robot:$2y$05$countersignCountersigeY1y4dHo9rrFOovzI3yrS8S5jANAuJoK\n';

/** go-containerregistry's registry: in memory, fast; with the referrers API unless told otherwise. */
export async function startGgcrRegistry(options: { readonly referrers?: boolean } = {}): Promise<Registry> {
  const running = await startPeer('ggcr-registry', {
    args: (port) => ['-addr', `127.0.0.1:${port}`, `-referrers=${options.referrers ?? true}`],
    ready: (port) => answers(`http://127.0.0.1:${port}/v2/`, 200),
  });
  return registry(running, {});
}

/** `crane registry serve`: go-containerregistry's registry as its users start it, which is without the referrers API. */
export async function startCraneRegistry(): Promise<Registry> {
  const running = await startPeer('crane', {
    args: (port) => ['registry', 'serve', '--address', `127.0.0.1:${port}`],
    ready: (port) => answers(`http://127.0.0.1:${port}/v2/`, 200),
  });
  return registry(running, {});
}

/** Our own, in this process. */
export async function startEmbeddedRegistry(): Promise<Registry> {
  const { port, close } = await startRegistry();
  return registry({ port, pid: process.pid, output: () => '', stop: close }, {});
}

/** distribution 2.8: no referrers API. */
export function startDockerRegistry(): Promise<Registry> {
  return startFiled('docker-registry', undefined);
}

/** distribution 3.1: no referrers API; open, or behind basic authentication, or behind a token server. */
export async function startDistribution(
  options: { readonly auth?: 'none' | 'basic' | 'token' } = {},
): Promise<Registry> {
  const { auth = 'none' } = options;
  if (auth === 'none') return startFiled('distribution', undefined);
  if (auth === 'basic') return startFiled('distribution', (folder) => ({ htpasswd: basic(folder) }));
  const tokens = await startTokenServer(credentials);
  try {
    return await startFiled('distribution', (folder) => ({ token: tokens.trust(folder) }), tokens);
  } catch (error) {
    await tokens.stop();
    throw error;
  }
}

function basic(folder: string): object {
  writeFileSync(join(folder, 'htpasswd'), htpasswd);
  return { realm: 'countersign', path: join(folder, 'htpasswd') };
}

/** Both generations of distribution read the same configuration; JSON is YAML. */
async function startFiled(
  name: PeerName,
  auth: ((folder: string) => object) | undefined,
  tokens?: TokenServer,
): Promise<Registry> {
  const folder = temporaryFolder(name);
  const storage = join(folder, 'storage');
  mkdirSync(storage);
  const access = auth === undefined ? {} : { auth: auth(folder) };
  const running = await startPeer(name, {
    args: (port) => {
      const configuration = {
        version: '0.1',
        log: { level: 'warn', accesslog: { disabled: true } },
        storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
        http: { addr: `127.0.0.1:${port}`, secret: 'of-a-test' },
        ...access,
      };
      writeFileSync(join(folder, 'config.yml'), JSON.stringify(configuration));
      return ['serve', join(folder, 'config.yml')];
    },
    ready: (port) => answers(`http://127.0.0.1:${port}/v2/`, auth === undefined ? 200 : 401),
    env: { OTEL_TRACES_EXPORTER: 'none' },
  });
  return registry(running, { storage, tokens, ...(auth === undefined ? {} : { credentials }) }, async () => {
    await tokens?.stop();
    rmSync(folder, { recursive: true, force: true });
  });
}

function registry(
  running: Running,
  more: { storage?: string; tokens?: TokenServer | undefined; credentials?: Credentials },
  after: () => Promise<void> = () => Promise.resolve(),
): Registry {
  const host = `127.0.0.1:${running.port}`;
  return {
    host,
    url: `http://${host}`,
    port: running.port,
    credentials: more.credentials,
    env: more.credentials === undefined ? {} : { DOCKER_CONFIG: dockerConfig(host, more.credentials) },
    tokens: more.tokens,
    storage: more.storage,
    output: running.output,
    stop: async () => {
      await running.stop();
      await after();
    },
  };
}

/** A folder with a docker config.json that holds these credentials for this host. */
export function dockerConfig(host: string, { username, password }: Credentials): string {
  const folder = temporaryFolder('docker');
  const auth = Buffer.from(`${username}:${password}`).toString('base64');
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ auths: { [host]: { auth } } }));
  return folder;
}
