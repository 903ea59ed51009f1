import type { CountersignError } from '../../model/error.ts';
import { credentialError } from './errors.ts';
import type { CredentialSettings } from './settings.ts';
import type { Credential, CredentialSource } from './source.ts';
import { watchFile } from '../watched-file.ts';

const maxSecretBytes = 64 * 1024;

/**
 * A secret from a file, one final newline dropped; `read` as of a watched file. Rejects with `failed_precondition`, reason
 * `REGISTRY_CREDENTIAL_UNAVAILABLE`, with the path and no content.
 */
export const watchSecret = async (
  path: string,
  host: string,
  warn: (problem: unknown) => void,
): Promise<(anew: boolean) => Promise<string>> => {
  const unusable = (why: string, cause?: unknown): CountersignError =>
    credentialError('REGISTRY_CREDENTIAL_UNAVAILABLE', host, `the file ${path} ${why}`, { passes: false, cause });
  const file = await watchFile(path, {
    maxBytes: maxSecretBytes,
    parse: (bytes) => {
      const secret = bytes.toString('utf8').replace(/\r?\n$/, '');
      if (secret === '') throw unusable('is empty');
      if (/\p{Cc}/u.test(secret)) throw unusable('has more than one line');
      return secret;
    },
    unreadable: unusable,
    warn,
  });
  return file.read;
};

/** Credentials that the configuration gives itself, the secret in it or in a file. Rejects as `watchSecret`. */
export const openStaticCredentials = async (
  settings: CredentialSettings,
  host: string,
  warn: (problem: unknown) => void,
): Promise<CredentialSource> => {
  const { username, password, passwordFile, identityToken, identityTokenFile } = settings;
  const file = passwordFile ?? identityTokenFile;
  const secret = file === undefined ? async () => password ?? identityToken ?? '' : await watchSecret(file, host, warn);
  const toCredential = (read: string): Credential =>
    username === undefined ? { kind: 'identity-token', token: read } : { kind: 'basic', username, password: read };
  return { fetch: async (_, __, anew) => toCredential(await secret(anew)) };
};
