import type { Context } from '../../model/context.ts';

/** How to prove to one registry who we are. */
export type Credential = (
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token (docker: `identitytoken`), exchanged at the registry's token service. */
  | { readonly kind: 'identity-token'; readonly token: string }
  /** A bearer token for the registry itself (docker: `registrytoken`). */
  | { readonly kind: 'registry-token'; readonly token: string }
) & {
  /** Only a token service on the registry's own origin gets it, whichever one the registry names. Default: any that it names. */
  readonly ownRealm?: true;
};

/**
 * The credential for an exact registry host (`host[:port]`, as in references); undefined: none, ask as nobody. `refused`: what was
 * given before and did not do; something newer is looked for, and the same given again where there is none. Rejects with
 * `unavailable` or `failed_precondition`, reasons as in `errors.ts`, never with a secret in it. Safe to call concurrently.
 */
export type Credentials = (
  host: string,
  context: Context,
  refused?: Credential,
) => Promise<Credential | undefined> | Credential | undefined;

/** One place that credentials come from: what each kind makes. */
export type CredentialSource = {
  /**
   * The credential for this host, which the source is configured for; undefined: it has none. `anew`: what it gave last was refused, so
   * what it keeps will not do. Rejects as `Credentials` does. Safe to call concurrently.
   */
  fetch(host: string, context: Context, anew: boolean): Promise<Credential | undefined>;
};

/** A token of a cloud; `lifetimeMs`: how long it is good for from now, milliseconds. */
export type CloudToken = { readonly token: string; readonly lifetimeMs: number };

/** What signs requests to AWS. */
export type AwsIdentity = {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
};

/**
 * Who the service itself is in the clouds, by where it runs. `anew`: what was given last was refused, so it is had anew. Each rejects with a
 * CountersignError that holds no secret.
 */
export type AmbientIdentities = {
  aws(context: Context, anew: boolean): Promise<AwsIdentity>;
  azure(asked: AzureAsked, context: Context, anew: boolean): Promise<CloudToken>;
  google(context: Context, anew: boolean): Promise<CloudToken>;
};

export type AzureAsked = {
  /** As Entra ID has it, `https://.../.default`. */
  readonly scope: string;
  /** Who issues tokens there; undefined: that of the environment, or of Azure's public cloud. */
  readonly authorityHost: string | undefined;
  /** Of a user-assigned identity. */
  readonly clientId: string | undefined;
};

/** Docker Hub's names count as one. */
const dockerHubNames = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/** Lower case, without scheme and path: docker's config.json writes `https://index.docker.io/v1/`. */
export const canonicalHost = (key: string): string => {
  const host = key
    .replace(/^https?:\/\//, '')
    .replace(/\/.*$/, '')
    .toLowerCase();
  return dockerHubNames.has(host) ? 'index.docker.io' : host;
};
