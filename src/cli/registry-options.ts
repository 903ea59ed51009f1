import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createAmbientIdentities } from '../keys/ambient-identities.ts';
import { type Context, openContext } from '../model/context.ts';
import type { ImageReference } from '../model/subject.ts';
import { createHttpClient } from '../net/http.ts';
import { loadCredentials } from '../registry/credentials.ts';
import { canonicalHost } from '../registry/credentials/source.ts';
import { parseReference, parseRepository } from '../registry/reference.ts';
import type { Target } from '../registry/target.ts';
import type { GatherOptions } from '../transfer/gather.ts';
import { openRegistries, repositorySource, type Registries } from '../transfer/repository.ts';
import type { Source } from '../transfer/source.ts';
import { parseTimeout } from './address.ts';
import { type Input, type Option, type Terminal, UsageError } from './command.ts';
import { outputOption } from './connection-options.ts';
import { readText } from './files.ts';
import { printable } from './output.ts';

const group = 'Registries';

/** The options of every command that speaks to registries itself. */
export const registryOptions: readonly Option[] = [
  outputOption,
  {
    name: 'docker-config',
    type: 'text',
    value: 'FILE',
    help: 'the docker config.json with credentials and credential helpers (default $DOCKER_CONFIG/config.json, or ~/.docker/config.json)',
    env: 'COUNTERSIGN_DOCKER_CONFIG',
    group,
  },
  {
    name: 'registry-username',
    type: 'text',
    value: 'NAME',
    help: 'for the registries that the command names, with --registry-password',
    env: 'COUNTERSIGN_REGISTRY_USERNAME',
    group,
  },
  {
    name: 'registry-password',
    type: 'text',
    value: 'PASSWORD',
    help: 'prefer the environment, since arguments are visible to others',
    env: 'COUNTERSIGN_REGISTRY_PASSWORD',
    group,
  },
  {
    name: 'registry-ca',
    type: 'text',
    value: 'FILE',
    help: "PEM certificates that are trusted besides the system's",
    env: 'COUNTERSIGN_REGISTRY_CA',
    group,
  },
  {
    name: 'plain-http',
    type: 'list',
    value: 'HOST',
    help: 'a registry that is spoken to over plain http; localhost and loopback addresses always are',
    group,
  },
  {
    name: 'allow-private',
    type: 'list',
    value: 'HOST',
    help: 'a host that a registry sends us to (tokens, storage) and that may lie in a private network; the registries named may in any case',
    group,
  },
  {
    name: 'timeout',
    type: 'text',
    value: 'TIME',
    help: 'deadline of the whole command: 90s, 10m',
    default: '30m',
    env: 'COUNTERSIGN_TIMEOUT',
    group,
  },
];

/** Where attachments lie. */
export const attachedOptions: readonly Option[] = [
  {
    name: 'signature-repository',
    type: 'text',
    value: 'REPOSITORY',
    help: 'where signatures lie besides the repository of the image, host/path',
    env: 'COSIGN_REPOSITORY',
  },
  { name: 'tag-prefix', type: 'text', value: 'TEXT', help: 'what the tags sha256-<hex>.sig and .att begin with' },
];

export const platformOption: Option = {
  name: 'platform',
  type: 'text',
  value: 'OS/ARCH',
  help: 'of an index the image of this platform: os/arch or os/arch/variant',
};

/** Runs something with registries opened for these repositories, as the options say; closes them afterwards. Throws UsageError. */
export const withRegistries = async <T>(
  input: Input,
  terminal: Terminal,
  targets: readonly (Pick<Target, 'registry'> | undefined)[],
  work: (registries: Registries, context: Context) => Promise<T>,
): Promise<T> => {
  const hosts = targets.flatMap((target) => (target === undefined ? [] : [target.registry]));
  const username = input.text('registry-username');
  const password = input.text('registry-password');
  if ((username === undefined) !== (password === undefined)) {
    throw new UsageError('--registry-username and --registry-password belong together.');
  }
  const ca = input.text('registry-ca');
  const plainHttpHosts = [...input.list('plain-http').map((host) => host.toLowerCase()), ...hosts.filter(isLoopback)];
  const allowPrivate = input.list('allow-private').map((host) => host.toLowerCase());
  const named = new Set(hosts.flatMap((host) => [host, host === 'index.docker.io' ? 'registry-1.docker.io' : host]));
  const timeoutMs = parseTimeout(input.text('timeout') ?? '30m');
  const egress = { plainHttpHosts, allowPrivate, named: (host: string) => named.has(host) };
  const trusted = ca === undefined ? {} : { ca: [await readText(ca, 1024 * 1024)] };
  const http = createHttpClient({ ...egress, ...trusted });
  const identities = createAmbientIdentities({ createHttp: createHttpClient });
  const owned = openContext(randomUUID(), timeoutMs);
  try {
    const dockerConfig = input.text('docker-config') ?? defaultDockerConfig(terminal.env);
    const given =
      username === undefined || password === undefined ? [] : hosts.map((host) => [host, { username, password }]);
    const { credentials } = await loadCredentials(
      {
        credentials: Object.fromEntries(given),
        dockerConfig,
        helperEnvironment: Object.keys(terminal.env),
      },
      {
        http,
        identities,
        environment: terminal.env,
        warn: (problem) => terminal.err(`${printable(problem instanceof Error ? problem.message : String(problem))}\n`),
      },
    );
    const registries = openRegistries({ http, credentials, plainHttpHosts, allowPrivate, tries: 4 });
    return await work(registries, owned.context);
  } finally {
    owned.dispose();
    await Promise.all([http.close(), identities.close()]);
  }
};

const defaultDockerConfig = (env: Terminal['env']): string | undefined => {
  const folder = env['DOCKER_CONFIG'] || join(env['HOME'] || homedir(), '.docker');
  const file = join(folder, 'config.json');
  return existsSync(file) ? file : undefined;
};

const isLoopback = (host: string): boolean =>
  /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/.test(canonicalHost(host));

/** The one IMAGE of a command line. Throws UsageError, or `invalid_argument` for a bad reference. */
export const imageOf = (input: Input, what = 'IMAGE'): ImageReference => {
  const [image, ...more] = input.positionals;
  if (image === undefined || more.length > 0) throw new UsageError(`Name one ${what}.`);
  return parseReference(image);
};

/** The repository for signatures, if one is named. */
export const signatureTarget = (input: Input, option = 'signature-repository'): Target | undefined => {
  const text = input.text(option);
  return text === undefined ? undefined : parseRepository(text, option);
};

/** Where attachments of an image in `source` are looked for. */
export const attachedIn = (
  input: Input,
  source: Source,
  registries: Registries,
): Pick<GatherOptions, 'attachedIn' | 'tagPrefix'> => {
  const target = signatureTarget(input);
  const other = target && repositorySource(registries, target);
  return {
    attachedIn: other === undefined || other.name === source.name ? [source] : [source, other],
    tagPrefix: input.text('tag-prefix') ?? '',
  };
};

/** Bytes for people. */
export const sizeText = (bytes: number): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
};
