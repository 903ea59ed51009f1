import { readFile } from 'node:fs/promises';
import { CountersignError } from '../../model/error.ts';
import { createLease } from './hold.ts';
import type { Lease } from '../lease.ts';
import type { LeaseSettings } from './settings.ts';
import { createValkeyLeaseStore } from './valkey.ts';
import { connectValkey } from './valkey-connection.ts';
import { watchFile } from '../watched-file.ts';

const maxSecretBytes = 64 * 1024;

/**
 * The lease that the configuration asks for; its store need not be there yet. `told`: as of `connectValkey`; `warn`: what is wrong with
 * a password file that changed. Rejects with `failed_precondition`: `LEASE_FILE_INVALID` (with the path, never content), `EGRESS_DENIED`.
 */
export const openLease = async (
  settings: LeaseSettings,
  options: {
    readonly allowPrivate: readonly string[];
    readonly told?: (problem: CountersignError | undefined) => void;
    readonly warn: (problem: unknown) => void;
  },
): Promise<Lease> => {
  const { url, username, password, passwordFile, caFile, keyPrefix, durationMs, waitMs } = settings;
  const file = passwordFile === undefined ? undefined : await watchPassword(passwordFile, options.warn);
  const credentials = async () => ({ username, password: file === undefined ? password : await file.read(true) });
  const ca = caFile === undefined ? undefined : await readCa(caFile);
  const { allowPrivate, told } = options;
  const connection = await connectValkey({ url, credentials, ca, allowPrivate, ...(told && { told }) });
  return createLease(createValkeyLeaseStore(connection, keyPrefix), { durationMs, waitMs });
};

const watchPassword = (path: string, warn: (problem: unknown) => void) =>
  watchFile(path, {
    maxBytes: maxSecretBytes,
    parse: (bytes) => {
      const secret = bytes.toString('utf8').replace(/\r?\n$/, '');
      if (secret === '' || /\p{Cc}/u.test(secret)) throw invalid(path, 'is empty, or has more than one line');
      return secret;
    },
    unreadable: (why, cause) => invalid(path, why, cause),
    warn,
  });

const readCa = async (path: string): Promise<string> => {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw invalid(path, 'cannot be read', error);
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----')) throw invalid(path, 'holds no PEM certificate');
  return text;
};

const invalid = (path: string, what: string, cause?: unknown): CountersignError =>
  new CountersignError('failed_precondition', 'LEASE_FILE_INVALID', `The file ${path} of registry.lease ${what}.`, {
    metadata: { file: path },
    ...(cause === undefined ? {} : { cause }),
  });
