import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { decodeBase64 } from '../codec/base64.ts';
import { CountersignError } from '../model/error.ts';
import type { RegistrySettings } from './settings.ts';

/** How to prove to one registry who we are. */
export type Credential =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token (docker: `identitytoken`), exchanged at the registry's token service. */
  | { readonly kind: 'identity-token'; readonly token: string }
  /** A bearer token for the registry itself (docker: `registrytoken`). */
  | { readonly kind: 'registry-token'; readonly token: string };

/** Credentials by exact registry host (`host[:port]`); Docker Hub's names count as one. */
export type Credentials = (host: string) => Credential | undefined;

export type LoadedCredentials = { readonly credentials: Credentials; readonly warnings: readonly string[] };

const maxConfigBytes = 1024 * 1024;
const dockerHubNames = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/** Lower case, without scheme and path: docker's config.json writes `https://index.docker.io/v1/`. */
const canonicalHost = (key: string): string => {
  const host = key
    .replace(/^https?:\/\//, '')
    .replace(/\/.*$/, '')
    .toLowerCase();
  return dockerHubNames.has(host) ? 'index.docker.io' : host;
};

/**
 * Credentials from the settings (they win) and from a docker config.json, read once. Throws `failed_precondition`, reason
 * `DOCKER_CONFIG_INVALID`, with the file and host named, never a secret. Credential helpers are not run: `warnings` names them.
 */
export const loadCredentials = async (settings: RegistrySettings): Promise<LoadedCredentials> => {
  const file = settings.dockerConfig;
  const docker = file === undefined ? undefined : parseDockerConfig(await readConfig(file), file);
  const found = new Map(docker?.credentials);
  for (const [host, credential] of Object.entries(settings.credentials)) {
    found.set(
      canonicalHost(host),
      'username' in credential
        ? { kind: 'basic', username: credential.username, password: credential.password }
        : { kind: 'identity-token', token: credential.identityToken },
    );
  }
  return { credentials: (host) => found.get(canonicalHost(host)), warnings: docker?.warnings ?? [] };
};

const dockerEntry = z.looseObject({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});

const dockerConfig = z.looseObject({
  auths: z.record(z.string(), z.unknown()).optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
});

/** Parses the text of a docker config.json (docker/cli, "config.json properties"); empty text is an empty one. */
export const parseDockerConfig = (
  text: string,
  file: string,
): { readonly credentials: ReadonlyMap<string, Credential>; readonly warnings: readonly string[] } => {
  const parsed = dockerConfig.safeParse(parseJson(text, file));
  if (!parsed.success) throw invalid(file, `has a bad ${String(parsed.error.issues[0]?.path[0] ?? 'document')}`);

  const credentials = new Map<string, Credential>();
  const entries = Object.entries(parsed.data.auths ?? {});
  // A key that is the bare host wins over one in docker's old URL form.
  for (const [key, entry] of entries.sort(([a], [b]) => Number(isBare(a)) - Number(isBare(b)))) {
    const credential = parseEntry(entry, canonicalHost(key), file);
    if (credential !== undefined) credentials.set(canonicalHost(key), credential);
  }
  const helpers = Object.entries(parsed.data.credHelpers ?? {}).filter(([, helper]) => helper !== '');
  const store = parsed.data.credsStore;
  return {
    credentials,
    warnings: [
      ...helpers.map(
        ([host, helper]) =>
          `${file}: the credential helper ${JSON.stringify(helper)} of ${host} is not run (not supported yet); give this host's credentials in the configuration.`,
      ),
      ...(store === undefined || store === ''
        ? []
        : [
            `${file}: the credential store ${JSON.stringify(store)} is not read (not supported yet); only what "auths" holds itself is used.`,
          ]),
    ],
  };
};

const isBare = (key: string): boolean => !/^https?:\/\//.test(key);

const parseEntry = (entry: unknown, host: string, file: string): Credential | undefined => {
  const parsed = dockerEntry.safeParse(entry);
  if (!parsed.success) throw invalid(file, `has a bad entry for ${host}`);
  const { auth, username, password, identitytoken, registrytoken } = parsed.data;
  if (registrytoken) return { kind: 'registry-token', token: registrytoken };
  if (identitytoken) return { kind: 'identity-token', token: identitytoken };
  if (auth) return parseAuth(auth, host, file);
  return username && password ? { kind: 'basic', username, password } : undefined;
};

const parseAuth = (auth: string, host: string, file: string): Credential => {
  const text = decodeBase64(auth)?.toString('utf8') ?? '';
  const colon = text.indexOf(':');
  if (colon <= 0) throw invalid(file, `has an "auth" for ${host} that is not base64 of user:password`);
  // Old docker versions padded the password with NUL.
  return { kind: 'basic', username: text.slice(0, colon), password: text.slice(colon + 1).replaceAll('\0', '') };
};

// The parser's own message may quote the file, secrets included: it is not kept as the cause.
const parseJson = (text: string, file: string): unknown => {
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text);
  } catch {
    throw invalid(file, 'is not JSON');
  }
};

const readConfig = async (file: string): Promise<string> => {
  try {
    const bytes = await readFile(file);
    if (bytes.byteLength > maxConfigBytes) throw invalid(file, `is larger than ${maxConfigBytes} bytes`);
    return bytes.toString('utf8');
  } catch (error) {
    if (error instanceof CountersignError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw invalid(file, `cannot be read (${code})`, error);
  }
};

const invalid = (file: string, what: string, cause?: unknown): CountersignError =>
  new CountersignError('failed_precondition', 'DOCKER_CONFIG_INVALID', `The docker configuration ${file} ${what}.`, {
    metadata: { file },
    ...(cause === undefined ? {} : { cause }),
  });
