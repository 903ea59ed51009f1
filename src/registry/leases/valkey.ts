import type { LeaseStore } from '../lease.ts';
import type { ValkeyConnection } from './valkey-connection.ts';

/*
 * A lease is a key with an expiry that holds the token of its holder, and the notes of the last ones another; braces keep the two
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
if ARGV[3] ~= '' then
  redis.call('RPUSH', KEYS[2], ARGV[3])
  redis.call('LTRIM', KEYS[2], -16, -1)
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`;

const noted = `return redis.call('LRANGE', KEYS[1], 0, -1)`;

/** Leases in Valkey. Keys: `<keyPrefix>{<name>}` and `<keyPrefix>{<name>}:notes`. */
export const createValkeyLeaseStore = (connection: ValkeyConnection, keyPrefix: string): LeaseStore => {
  const keyOf = (name: string): string => `${keyPrefix}{${name}}`;
  const notesOf = (name: string): string => `${keyOf(name)}:notes`;
  const yes = async (script: string, keys: readonly string[], args: readonly (string | number)[]): Promise<boolean> =>
    (await connection.run(script, keys, args.map(String))) === 1;
  return {
    take: (name, token, ms) => yes(take, [keyOf(name)], [token, ms]),
    keep: (name, token, ms) => yes(keep, [keyOf(name)], [token, ms]),
    give: (name, token, { note = '', lingerMs = 0 }, noteMs) =>
      yes(give, [keyOf(name), notesOf(name)], [token, Math.ceil(lingerMs), note, noteMs]),
    noted: async (name) => {
      const notes = await connection.run(noted, [notesOf(name)], []);
      return Array.isArray(notes) ? notes.filter((note) => typeof note === 'string') : [];
    },
    upForMs: connection.upForMs,
    close: connection.close,
  };
};
