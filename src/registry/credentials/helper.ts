import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { assertLive, type Context, remainingMs } from '../../model/context.ts';
import type { CountersignError } from '../../model/error.ts';
import { credentialError } from './errors.ts';
import { createIssuedCredentials } from './issued.ts';
import { helperName } from './settings.ts';
import type { Credential } from './source.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Runs credential helpers. Safe to call concurrently: a few run at a time, the others wait for their turn. */
export type CredentialHelpers = {
  /**
   * What `docker-credential-<name> get` says for a registry host, kept for some minutes, since it does not tell how long it is good
   * for; undefined: it has none. `anew`: what was kept was refused. Rejects with `CREDENTIAL_HELPER_FAILED`: `unavailable` where it took
   * too long, else `failed_precondition`; nothing that it printed is in the error.
   */
  get(name: string, host: string, context: Context, anew: boolean): Promise<Credential | undefined>;
};

const timeoutMs = 10_000;
const maxOutputBytes = 64 * 1024;
const maxRunning = 4;
/** docker-credential-helpers, credentials/error.go: how a helper says that it knows nothing of a host. */
const notFound = 'credentials not found in native keychain';

/** What programs need to run at all, and to find a keychain. Secrets of the service are not among it. */
const passedOn = [
  ...['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'TMPDIR', 'XDG_RUNTIME_DIR', 'XDG_CONFIG_HOME', 'XDG_CACHE_HOME'],
  ...['DBUS_SESSION_BUS_ADDRESS', 'GNUPGHOME', 'PASSWORD_STORE_DIR', 'SSL_CERT_FILE', 'SSL_CERT_DIR'],
  ...['SystemRoot', 'USERPROFILE', 'APPDATA', 'LOCALAPPDATA'],
];

const helperEnvironment = (environment: Environment, more: readonly string[]): Record<string, string> => {
  const isPassedOn = (name: string): boolean =>
    passedOn.includes(name) ||
    more.some((entry) => (entry.endsWith('*') ? name.startsWith(entry.slice(0, -1)) : name === entry));
  return Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) =>
      value !== undefined && isPassedOn(name) ? [[name, value]] : [],
    ),
  );
};

/** In an absolute folder of the PATH: never in the folder that the service happens to be started in. */
const findProgram = async (name: string, environment: Environment): Promise<string | undefined> => {
  const suffix = process.platform === 'win32' ? '.exe' : '';
  for (const folder of (environment['PATH'] ?? '').split(delimiter).filter(isAbsolute)) {
    const path = join(folder, `docker-credential-${name}${suffix}`);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {}
  }
  return undefined;
};

const answer = z.looseObject({ Username: z.string().max(1_024), Secret: z.string().min(1).max(maxOutputBytes) });

const parseAnswer = (output: string): Credential | undefined => {
  let json: unknown;
  try {
    json = JSON.parse(output);
  } catch {
    return undefined;
  }
  const parsed = answer.safeParse(json);
  if (!parsed.success) return undefined;
  const { Username: username, Secret: secret } = parsed.data;
  if (username === '<token>') return { kind: 'identity-token', token: secret };
  return username === '' || username.includes(':') ? undefined : { kind: 'basic', username, password: secret };
};

type Ended = { readonly why: 'exit' | 'output' | 'time'; readonly status: number | string; readonly output: string };

/** One run, without a shell; it and what it started are ended when it takes or says too much. Its stderr goes nowhere. */
const run = (program: string, input: string, env: Record<string, string>, ms: number): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(program, ['get'], {
      env,
      stdio: ['pipe', 'pipe', 'ignore'],
      shell: false,
      windowsHide: true,
      detached: process.platform !== 'win32',
    });
    let why: Ended['why'] = 'exit';
    let size = 0;
    const chunks: Buffer[] = [];
    const end = (because: Ended['why']): void => {
      why = because;
      if (child.pid === undefined) return;
      try {
        if (process.platform === 'win32') child.kill('SIGKILL');
        else process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended by itself meanwhile.
      }
      // Something that it started may hold the pipe open.
      child.stdout.destroy();
    };
    const timer = setTimeout(() => end('time'), ms);
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.byteLength;
      if (size > maxOutputBytes) end('output');
      else chunks.push(chunk);
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ why, status: code ?? signal ?? 'unknown', output: Buffer.concat(chunks).toString('utf8') });
    });
    // A helper that ends without reading what it is asked closes the pipe: its exit status tells.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });

/** `more`: names of variables that helpers get besides the few that every program needs; `NAME*` for all that begin so. */
export const createCredentialHelpers = (environment: Environment, more: readonly string[]): CredentialHelpers => {
  const env = helperEnvironment(environment, more);
  const waiting: (() => void)[] = [];
  let running = 0;

  const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= maxRunning) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };

  const get = async (name: string, host: string, context: Context): Promise<Credential | undefined> => {
    const program = `docker-credential-${name}`;
    const failed = (why: string, passes = false, cause?: unknown): CountersignError =>
      credentialError('CREDENTIAL_HELPER_FAILED', host, `${program} ${why}`, { passes, cause });
    const path = helperName.test(name) ? await findProgram(name, env) : undefined;
    if (path === undefined) throw failed('is not in the PATH of the service');
    // docker login keeps what is Docker Hub's under this name.
    const serverUrl = host === 'index.docker.io' ? 'https://index.docker.io/v1/' : host;
    // The wait for a turn may have taken all the time.
    assertLive(context);
    let ended: Ended;
    try {
      ended = await run(path, serverUrl, env, Math.max(1, Math.min(timeoutMs, remainingMs(context))));
    } catch (caught) {
      throw failed('cannot be started', false, new Error(String((caught as NodeJS.ErrnoException).code)));
    }
    if (ended.why === 'time') throw failed('did not answer in time', true);
    if (ended.why === 'output') throw failed(`printed more than ${maxOutputBytes} bytes`);
    if (ended.status !== 0) {
      if (ended.output.trim() === notFound) return undefined;
      throw failed(`ended with ${typeof ended.status === 'number' ? 'exit status ' : ''}${ended.status}`);
    }
    const credential = parseAnswer(ended.output);
    if (credential === undefined) throw failed('printed something that is no credential');
    return credential;
  };

  const issued = createIssuedCredentials();
  return {
    get: (name, host, context, anew) =>
      issued.get({ key: `${name} ${host}`, host, anew }, context, (shared) =>
        inTurn(async () => ({ credential: await get(name, host, shared) })),
      ),
  };
};
