// The programs of others that judge ours: which there are, where they lie, and how one is run.
// test/peers/install brings them; its table and this one name the same versions (peers.test.ts compares them).
import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Peer {
  readonly name: string;
  /** The pinned version, or `distro` for a package of the machine's own distribution. */
  readonly version: string;
  /** What is not checked when the program is absent. */
  readonly judges: string;
}

export const peers = [
  { name: 'cosign-3.1.1', version: '3.1.1', judges: 'signatures, attestations and bundles, by cosign 3' },
  { name: 'cosign-2.5.0', version: '2.5.0', judges: 'legacy signatures and attestations, by cosign 2' },
  { name: 'cosign-3.1.3', version: '3.1.3', judges: 'Vault keys used by cosign beside ours' },
  { name: 'crane', version: '0.20.7', judges: 'what lies in a registry; it also makes every test image' },
  { name: 'oras', version: '1.3.3', judges: 'referrers as another client lists them' },
  { name: 'docker-registry', version: '2.8.3', judges: 'registries without the referrers API (distribution 2)' },
  { name: 'grpcurl', version: '1.9.4', judges: 'gRPC reflection and calls from an unmodified client' },
  { name: 'distribution', version: '3.1.1', judges: 'registries with basic and token authentication' },
  { name: 'ggcr-registry', version: '0.20.7', judges: 'registries with the referrers API' },
  {
    name: 'oci-conformance',
    version: '0.0.0-20260831232431-97274622c111',
    judges: 'the embedded registry, by the tests of the OCI distribution specification',
  },
  { name: 'cosign-library', version: '3.1.3', judges: 'signatures a second, by cosign used as a Go library' },
  { name: 'sigstore-verify', version: '1.3.0', judges: 'bundles, by sigstore-go where cosign cannot' },
  { name: 'vault', version: '1.21.0', judges: 'keys in a real Vault' },
  { name: 'ministack', version: '1.5.33', judges: 'keys in AWS KMS, as an emulator has them' },
  { name: 'localstack', version: '4.9.2', judges: 'the states of keys in AWS KMS, as another emulator has them' },
  { name: 'valkey', version: '9.1.2', judges: 'leases in a real Valkey' },
  { name: 'dockerd', version: 'distro', judges: 'the container image, and peers in containers' },
  { name: 'iptables', version: 'distro', judges: 'what dockerd judges' },
  { name: 'ip', version: 'distro', judges: 'what dockerd judges, in a network of its own' },
  { name: 'openssl', version: 'distro', judges: 'keys and signatures, by openssl' },
  { name: 'jq', version: 'distro', judges: 'the shell examples of the documentation' },
  { name: 'softhsm2-util', version: 'distro', judges: 'keys in PKCS#11 tokens, by SoftHSM' },
  { name: 'pkcs11js', version: '2.1.7', judges: 'keys in PKCS#11 tokens, through its native part' },
] as const satisfies readonly Peer[];

export type PeerName = (typeof peers)[number]['name'];

/** The program that installs them. */
export const installer: string = join(dirname(fileURLToPath(import.meta.url)), 'install');

/** The native part of an optional dependency, where npm builds it. */
const addon = fileURLToPath(new URL('../../node_modules/pkcs11js/build/Release/pkcs11.node', import.meta.url));

/** The program's path, or undefined when it, in the pinned version, is absent. */
export function peerPath(name: PeerName): string | undefined {
  const peer: Peer = peers.find((one) => one.name === name) ?? fail(`no peer is called '${name}'`);
  if (peer.version === 'distro')
    return searchPath()
      .map((folder) => join(folder, name))
      .find(executable);
  if (name === 'pkcs11js') return existsSync(addon) ? addon : undefined;
  const link = join(cache(), 'bin', name);
  if (!executable(link)) return undefined;
  return basename(dirname(realpathSync(link))).endsWith(`-${peer.version}`) ? link : undefined;
}

export function absentPeers(): readonly Peer[] {
  return peers.filter((peer) => peerPath(peer.name) === undefined);
}

/** Throws an error that names the absent ones and the command that installs them. */
export function requirePeers(...names: readonly PeerName[]): void {
  const absent = names.filter((name) => peerPath(name) === undefined);
  if (absent.length === 0) return;
  const checks = absent.map((name) => `  ${name}: ${peers.find((peer) => peer.name === name)?.judges ?? ''}`);
  fail(
    `absent peer programs, so this is not checked:\n${checks.join('\n')}\ninstall them: test/peers/install ${absent.join(' ')}`,
  );
}

/**
 * For node:test's `skip` option: why a test that needs these peers cannot run here, or false.
 * In CI and under `npm run test:peers` (REQUIRE_PEERS=1) never a reason to skip: requirePeers then fails the test.
 */
export function skipWithout(...names: readonly PeerName[]): string | false {
  if (isSet(process.env.CI) || isSet(process.env.REQUIRE_PEERS)) return false;
  const absent = names.filter((name) => peerPath(name) === undefined);
  return absent.length > 0 && `absent: ${absent.join(', ')} (test/peers/install ${absent.join(' ')})`;
}

export interface RunOptions {
  /** Added to the bare environment of `isolated`. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  readonly input?: string | Uint8Array | undefined;
  readonly timeoutMs?: number | undefined;
}

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a peer to its end, without a shell. Any exit status is an answer; a program that is absent, cannot start,
 * is killed or does not end in time is an error, so that none of these passes for a refusal.
 */
export async function run(name: PeerName, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  requirePeers(name);
  const path = peerPath(name) ?? fail(`${name} vanished`);
  const { cwd, input, timeoutMs = 60_000 } = options;
  return new Promise((done, failed) => {
    const settings = {
      cwd,
      env: isolated(options.env),
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: 64 << 20,
    } as const;
    const child = execFile(path, args, settings, (error, stdout, stderr) => {
      if (error === null) return done({ code: 0, stdout, stderr });
      if (typeof error.code === 'number') return done({ code: error.code, stdout, stderr });
      const why = error.killed === true ? `did not end within ${timeoutMs} ms` : error.message;
      failed(new Error(`${name} ${args[0] ?? ''} ${why}\n${stderr}`, { cause: error }));
    });
    child.stdin?.on('error', () => undefined); // a program that ends without reading its input
    child.stdin?.end(input);
  });
}

/** The answer of a program that must succeed. */
export function succeeded(finished: Finished): Finished {
  return finished.code === 0 ? finished : fail(`exit status ${finished.code}\n${finished.stderr}${finished.stdout}`);
}

/**
 * A whole environment in which nothing of this machine leaks in (home, credentials, trust roots, proxies) and in which
 * a request to any address but loopback fails at once.
 */
export function isolated(added: Readonly<Record<string, string>> = {}): Record<string, string> {
  const home = temporaryHome();
  const nowhere = 'http://127.0.0.1:9';
  return {
    PATH: searchPath().join(':'),
    HOME: home,
    TMPDIR: home,
    XDG_CONFIG_HOME: join(home, 'config'),
    XDG_CACHE_HOME: join(home, 'cache'),
    DOCKER_CONFIG: join(home, 'docker'),
    TUF_ROOT: join(home, 'tuf'),
    HTTP_PROXY: nowhere,
    HTTPS_PROXY: nowhere,
    NO_PROXY: '127.0.0.1,localhost',
    ...added,
  };
}

/** A new folder, gone when this process ends. */
export function temporaryFolder(label: string): string {
  return mkdtempSync(join(temporaryHome(), `${label}-`));
}

let home: string | undefined;

function temporaryHome(): string {
  if (home === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'countersign-peers-'));
    process.on('exit', () => {
      try {
        rmSync(made, { recursive: true, force: true, maxRetries: 5 });
      } catch {
        // a service that was killed a moment ago may still write; what is left lies in the temporary folder
      }
    });
    mkdirSync(join(made, 'docker'));
    home = made;
  }
  return home;
}

function cache(): string {
  const { COUNTERSIGN_PEERS, XDG_CACHE_HOME } = process.env;
  if (isSet(COUNTERSIGN_PEERS)) return resolve(COUNTERSIGN_PEERS);
  return join(isSet(XDG_CACHE_HOME) ? XDG_CACHE_HOME : join(homedir(), '.cache'), 'countersign-peers');
}

function searchPath(): string[] {
  return [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].filter((folder) => folder !== '');
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== '' && value !== 'false' && value !== '0';
}

function fail(message: string): never {
  throw new Error(message);
}
