import { z } from 'zod';
import type { Context } from '../../model/context.ts';
import { CountersignError } from '../../model/error.ts';
import { readSecretFile } from '../read-file.ts';
import { triedAgain, type VaultClient } from './client.ts';
import { vaultGarbage } from './errors.ts';
import type { VaultLogin } from './settings.ts';

/** A token and what is known of its life. */
export type VaultToken = {
  readonly token: string;
  /** Seconds; undefined when it does not expire, or Vault does not say. */
  readonly ttl: number | undefined;
  /** False for batch tokens, among others. */
  readonly renewable: boolean;
};

const authAnswer = z.object({
  auth: z.object({
    client_token: z.string().min(1).max(16_384),
    lease_duration: z.number().min(0),
    renewable: z.boolean(),
  }),
});
const lookupAnswer = z.object({ data: z.object({ ttl: z.number().min(0), renewable: z.boolean().optional() }) });

const positive = (seconds: number): number | undefined => (seconds > 0 ? seconds : undefined);

const parseAuth = (answer: unknown, host: string): VaultToken => {
  const parsed = authAnswer.safeParse(answer);
  if (!parsed.success) throw vaultGarbage(host, 'a login without a token');
  const { client_token, lease_duration, renewable } = parsed.data.auth;
  return { token: client_token, ttl: positive(lease_duration), renewable };
};

const fileOr = async (value: string | undefined, file: string | undefined, what: string): Promise<string | undefined> =>
  value ?? (file === undefined ? undefined : readSecretFile(file, what));

/** Path and body of the login; files are read each time, since they rotate under us. */
const loginRequest = async (login: Exclude<VaultLogin, { method: 'token' }>): Promise<readonly [string, object]> => {
  const path = `auth/${login.mount}/login`;
  // Who asks, the connection tells.
  if (login.method === 'cert') return [path, login.name === undefined ? {} : { name: login.name }];
  if (login.method !== 'approle') {
    return [path, { role: login.role, jwt: (await readSecretFile(login.tokenFile, 'the token file')).trim() }];
  }
  const roleId = await fileOr(login.roleId, login.roleIdFile, 'the role id file');
  const secretId = await fileOr(login.secretId, login.secretIdFile, 'the secret id file');
  return [path, { role_id: roleId, ...(secretId === undefined ? {} : { secret_id: secretId }) }];
};

/** A given token: what Vault knows of its life, where it may be asked. */
const lookUp = async (client: VaultClient, token: string, context: Context): Promise<VaultToken> => {
  try {
    const parsed = lookupAnswer.safeParse(await client.read('auth/token/lookup-self', token, context));
    if (!parsed.success) throw vaultGarbage(client.host, 'a token without a ttl');
    return { token, ttl: positive(parsed.data.data.ttl), renewable: parsed.data.data.renewable === true };
  } catch (caught) {
    // A token need not be allowed to look at itself. Whether it is good shows when the key is asked for.
    if (isDenied(caught)) return { token, ttl: undefined, renewable: false };
    throw caught;
  }
};

/** Did Vault refuse a token? It says 403 for unknown and expired tokens as well as for a missing permission. */
export const isDenied = (caught: unknown): boolean =>
  caught instanceof CountersignError && caught.reason === 'KEY_ACCESS_DENIED';

/**
 * Logs in (or reads the given token), over the connection of `client`, which shows the certificate of a `cert` login; what may
 * pass is tried up to three times. A refusal is `failed_precondition`, reason `KEY_ACCESS_DENIED`, that names the method;
 * a file that cannot be read `KEY_FILE_UNREADABLE`; else as `VaultClient`.
 */
export const logIn = async (client: VaultClient, login: VaultLogin, context: Context): Promise<VaultToken> => {
  if (login.method === 'token') {
    const token = await fileOr(login.token, login.tokenFile, 'the token file');
    return lookUp(client, (token ?? '').trim(), context);
  }
  const [path, body] = await loginRequest(login);
  try {
    return parseAuth(await triedAgain(() => client.write(path, body, undefined, context), context), client.host);
  } catch (caught) {
    if (!(caught instanceof CountersignError) || caught.code !== 'failed_precondition') throw caught;
    throw new CountersignError(
      'failed_precondition',
      'KEY_ACCESS_DENIED',
      `Vault (${client.host}) refuses the ${login.method} login at auth/${login.mount}: check its mount, role and credentials.`,
      { cause: caught.cause },
    );
  }
};

/** Renews a token, in one attempt. Errors as `VaultClient`. */
export const renewToken = async (client: VaultClient, token: string, context: Context): Promise<VaultToken> =>
  parseAuth(await client.write('auth/token/renew-self', {}, token, context), client.host);
