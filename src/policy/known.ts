/** What the configuration knows and a policy may name; `any` where there is no configuration to check against. */
export type Known = {
  /** Names of configured keys. */
  readonly keys: readonly string[] | 'any';
  /** Configured issuers; `stableClaims` replaces the well-known list for this one. */
  readonly issuers:
    | readonly { readonly issuer: string; readonly stableClaims?: readonly string[] | undefined }[]
    | 'any';
  /** Predicate types with their short names; without it short names are not checked and not translated. */
  readonly predicateTypes?: readonly { readonly uri: string; readonly aliases: readonly string[] }[];
};
