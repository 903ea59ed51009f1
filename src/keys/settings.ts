import { z } from 'zod';
import type { Context } from '../model/context.ts';
import { type BackendDeps, backends, type KeyKind } from './backends.ts';
import type { Key } from './port.ts';

/** One key of the configuration: `kind` tells which backend holds it and thereby which fields it has. */
export const keySettings = z.discriminatedUnion(
  'kind',
  [
    backends.local.settings,
    backends.vault.settings,
    backends.aws.settings,
    backends.gcp.settings,
    backends.azure.settings,
    backends.pkcs11.settings,
  ],
  {
    error: () => `must be one of: ${Object.keys(backends).join(', ')}`,
  },
);

export type KeySettings = z.infer<typeof keySettings>;

// Does not compile when the union above and the list of backends name different kinds.
const sameKinds: [KeyKind, KeySettings['kind']] extends [KeySettings['kind'], KeyKind] ? true : never = true;
void sameKinds;

/** Opens the key that some settings describe, with its backend. */
export const openKey = (settings: KeySettings, deps: BackendDeps, context: Context): Promise<Key> => {
  switch (settings.kind) {
    case 'local':
      return backends.local.open(settings, deps, context);
    case 'vault':
      return backends.vault.open(settings, deps, context);
    case 'aws':
      return backends.aws.open(settings, deps, context);
    case 'gcp':
      return backends.gcp.open(settings, deps, context);
    case 'azure':
      return backends.azure.open(settings, deps, context);
    case 'pkcs11':
      return backends.pkcs11.open(settings, deps, context);
  }
};
