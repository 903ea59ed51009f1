import type { LeaseStore } from './lease.ts';
import type { ValkeyConnection } from './valkey-connection.ts';

/*
 * A lease is a key with an expiry that holds the token of its holder, and the note of the last one another; braces keep the two
 * in one slot of a cluster. Each script may run twice: `run` of the connection says why.
 */

const take = `
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`;

const keep = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`;

const give = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4]) end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`;

const noted = `return redis.call('GET', KEYS[1])`;

/** Leases in Valkey. Keys: `<keyPrefix>{<name>}` and `<keyPrefix>{<name>}:note`. */
export const createValkeyLeaseStore = (connection: ValkeyConnection, keyPrefix: string): LeaseStore => {
  const keyOf = (name: string): string => `${keyPrefix}{${name}}`;
  const noteOf = (name: string): string => `${keyOf(name)}:note`;
  const yes = async (script: string, keys: readonly string[], args: readonly (string | number)[]): Promise<boolean> =>
    (await connection.run(script, keys, args.map(String))) === 1;
  return {
    take: (name, token, ms) => yes(take, [keyOf(name)], [token, ms]),
    keep: (name, token, ms) => yes(keep, [keyOf(name)], [token, ms]),
    give: (name, token, { note = '', lingerMs = 0 }, noteMs) =>
      yes(give, [keyOf(name), noteOf(name)], [token, Math.ceil(lingerMs), note, noteMs]),
    noted: async (name) => {
      const note = await connection.run(noted, [noteOf(name)], []);
      return typeof note === 'string' ? note : undefined;
    },
    upForMs: connection.upForMs,
    close: connection.close,
  };
};
