import type { Config } from '../config/schema.ts';
import type { Known } from '../policy/known.ts';
import { predicateTypes } from '../predicates/predicates.ts';

/** What policy files may name, by a configuration; without one, any key and issuer. */
export const knownBy = (config: Config | undefined): Known => ({
  keys: config === undefined ? 'any' : config.keys.map((key) => key.name),
  issuers:
    config === undefined ? 'any' : config.callers.oidc.map(({ issuer, stableClaims }) => ({ issuer, stableClaims })),
  predicateTypes,
});
