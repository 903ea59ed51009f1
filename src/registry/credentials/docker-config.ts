import { z } from 'zod';
import { decodeBase64 } from '../../codec/base64.ts';
import { CountersignError } from '../../model/error.ts';
import type { CredentialHelpers } from './helper.ts';
import { helperName } from './settings.ts';
import { canonicalHost, type Credential, type CredentialSource } from './source.ts';
import { watchFile } from '../watched-file.ts';

/** What a docker config.json says; hosts are canonical. */
export type DockerConfig = {
  readonly auths: ReadonlyMap<string, Credential>;
  /** Hosts that stand in `auths`, also those whose credentials a helper keeps. */
  readonly hosts: ReadonlySet<string>;
  readonly helpers: ReadonlyMap<string, string>;
  readonly store: string | undefined;
};

/** Credentials of a docker config.json, and which hosts it names; both follow the file when it changes. */
export type DockerConfigSource = CredentialSource & { names(host: string): boolean };

const maxConfigBytes = 1024 * 1024;

const entry = z.looseObject({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});

const config = z.looseObject({
  auths: z.record(z.string(), z.unknown()).optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
});

/**
 * Parses the text of a docker config.json (docker/cli, "config.json properties"); empty text is an empty one. Throws
 * `failed_precondition`, reason `DOCKER_CONFIG_INVALID`, with the file and the host named, never a secret.
 */
export const parseDockerConfig = (text: string, file: string): DockerConfig => {
  const parsed = config.safeParse(parseJson(text, file));
  if (!parsed.success) throw invalid(file, `has a bad ${String(parsed.error.issues[0]?.path[0] ?? 'document')}`);

  const auths = new Map<string, Credential>();
  const hosts = new Set<string>();
  const entries = Object.entries(parsed.data.auths ?? {});
  // A key that is the bare host wins over one in docker's old URL form, and over one with a path.
  for (const [key, value] of entries.sort(([a], [b]) => Number(isBare(a)) - Number(isBare(b)))) {
    const host = canonicalHost(key);
    const credential = parseEntry(value, host, file);
    hosts.add(host);
    if (credential !== undefined) auths.set(host, credential);
  }
  const helpers = Object.entries(parsed.data.credHelpers ?? {}).filter(([, helper]) => helper !== '');
  const store = parsed.data.credsStore || undefined;
  for (const name of [...helpers.map(([, helper]) => helper), ...(store === undefined ? [] : [store])]) {
    if (!helperName.test(name)) throw invalid(file, 'names a credential helper that is no name of a program');
  }
  return { auths, hosts, store, helpers: new Map(helpers.map(([key, helper]) => [canonicalHost(key), helper])) };
};

const isBare = (key: string): boolean => !key.includes('/');

const parseEntry = (value: unknown, host: string, file: string): Credential | undefined => {
  const parsed = entry.safeParse(value);
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

const invalid = (file: string, what: string, cause?: unknown): CountersignError =>
  new CountersignError('failed_precondition', 'DOCKER_CONFIG_INVALID', `The docker configuration ${file} ${what}.`, {
    metadata: { file },
    ...(cause === undefined ? {} : { cause }),
  });

/**
 * Opens a docker config.json. For a host its helper in `credHelpers` is asked, else `credsStore`; what stands in `auths` itself counts
 * where there is no helper, or the helper has nothing. Rejects as `parseDockerConfig`; a later change with a mistake goes to `warn`.
 */
export const openDockerConfig = async (
  file: string,
  helpers: CredentialHelpers,
  warn: (problem: unknown) => void,
): Promise<DockerConfigSource> => {
  const watched = await watchFile(file, {
    maxBytes: maxConfigBytes,
    parse: (bytes) => parseDockerConfig(bytes.toString('utf8'), file),
    unreadable: (why, cause) => invalid(file, why, cause),
    warn,
  });
  return {
    names: (host) => {
      const { hosts, helpers: byHost } = watched.last();
      return hosts.has(host) || byHost.has(host);
    },
    fetch: async (host, context, anew) => {
      const read = await watched.read(anew);
      const helper = read.helpers.get(host) ?? read.store;
      const kept = helper === undefined ? undefined : await helpers.get(helper, host, context, anew);
      return kept ?? read.auths.get(host);
    },
  };
};
