import { z } from 'zod';
import { backends } from './backends.ts';
import { groupSettings } from './group-settings.ts';
import { keySettings } from './settings.ts';

/** One entry under `keys`: a key of some backend, or a group of such keys. */
const configuredKey = z.discriminatedUnion('kind', [keySettings, groupSettings], {
  error: () => `must be one of: ${[...Object.keys(backends), 'group'].join(', ')}`,
});

export type ConfiguredKey = z.infer<typeof configuredKey>;

/** All keys of the configuration; names are unique, and members of groups are keys of the list. */
export const keysSettings = z
  .array(configuredKey)
  .max(10_000, 'must have at most 10000 keys')
  .superRefine((keys, context) => {
    const refuse = (path: (string | number)[], message: string): void =>
      context.addIssue({ code: 'custom', path, message });
    const kinds = new Map<string, string>();
    for (const [index, { name, kind }] of keys.entries()) {
      if (kinds.has(name)) refuse([index, 'name'], `there is another key named ${name}`);
      kinds.set(name, kind);
    }
    for (const [index, key] of keys.entries()) {
      if (key.kind !== 'group') continue;
      for (const [at, member] of key.members.entries()) {
        const kind = kinds.get(member.key);
        const path = [index, 'members', at, 'key'];
        if (kind === undefined) refuse(path, `no key named ${member.key} is configured`);
        if (kind === 'group') refuse(path, `${member.key} is a group itself: name its members`);
      }
    }
  });
