import type { z } from 'zod';
import type { Context } from '../model/context.ts';
import type { AwsDeps } from './aws.ts';
import { awsSettings } from './aws/settings.ts';
import type { AzureDeps } from './azure.ts';
import { azureSettings } from './azure/settings.ts';
import type { GcpDeps } from './gcp.ts';
import { gcpSettings } from './gcp/settings.ts';
import { openLocalKey } from './local.ts';
import { localSettings } from './local/settings.ts';
import type { Pkcs11Deps } from './pkcs11.ts';
import { pkcs11Settings } from './pkcs11/settings.ts';
import type { Key } from './port.ts';
import type { VaultDeps } from './vault.ts';
import { vaultSettings } from './vault/settings.ts';

/** What the backends are given from outside. */
export type BackendDeps = VaultDeps & AwsDeps & GcpDeps & AzureDeps & Pkcs11Deps;

type Backend<Schema extends z.ZodType> = {
  /** One key of this kind in the configuration. */
  readonly settings: Schema;
  /**
   * Opens one key within the context's deadline: reads its versions, pins the one that signs. An SDK or client library is
   * imported here and not before, so that a kind that is not configured costs nothing.
   */
  readonly open: (settings: z.infer<Schema>, deps: BackendDeps, context: Context) => Promise<Key>;
};

const backend = <Schema extends z.ZodType>(entry: Backend<Schema>): Backend<Schema> => entry;

/** THE list of key backends. A new one is its file and its name here; `settings.ts` and `keyring.ts` then do not compile without it. */
export const backends = {
  local: backend({ settings: localSettings, open: openLocalKey }),
  vault: backend({
    settings: vaultSettings,
    open: async (settings, deps, context) => (await import('./vault.ts')).openVaultKey(settings, deps, context),
  }),
  aws: backend({
    settings: awsSettings,
    open: async (settings, deps, context) => (await import('./aws.ts')).openAwsKey(settings, deps, context),
  }),
  gcp: backend({
    settings: gcpSettings,
    open: async (settings, deps, context) => (await import('./gcp.ts')).openGcpKey(settings, deps, context),
  }),
  azure: backend({
    settings: azureSettings,
    open: async (settings, deps, context) => (await import('./azure.ts')).openAzureKey(settings, deps, context),
  }),
  pkcs11: backend({
    settings: pkcs11Settings,
    open: async (settings, deps, context) => (await import('./pkcs11.ts')).openPkcs11Key(settings, deps, context),
  }),
};

export type KeyKind = keyof typeof backends;
