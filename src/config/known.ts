import { z } from 'zod';
import { commonSettings } from '../keys/common-settings.ts';
import type { Known } from '../policy/known.ts';
import { predicateTypes } from '../predicates/predicates.ts';
import type { Config } from './schema.ts';

/** What policy files may name, by a configuration; without one, any key and issuer. */
export const knownBy = (config: Config | undefined): Known => ({
  keys: config === undefined ? 'any' : config.keys.map((key) => key.name),
  issuers:
    config === undefined ? 'any' : config.callers.oidc.map(({ issuer, stableClaims }) => ({ issuer, stableClaims })),
  predicateTypes,
});

/** A text that no unset variable is left in. */
const settled = z.string().refine((text) => !text.includes('${'));
const keysDraft = z.array(z.object({ name: commonSettings.name }));
const issuersDraft = z.array(z.object({ issuer: settled, stableClaims: z.array(z.string()).optional() }));

/**
 * The same for a configuration with mistakes, unchecked, and the policy files that it names. A name that cannot be read, of
 * a key or an issuer, makes any accepted: one mistake is not reported as two.
 */
export const knownByDraft = (draft: unknown): { readonly known: Known; readonly policyFiles: readonly string[] } => {
  const keys = keysDraft.safeParse(at(draft, 'keys'));
  const issuers = issuersDraft.safeParse(at(draft, 'callers', 'oidc'));
  const files = z.array(z.unknown()).safeParse(at(draft, 'policy', 'files')).data ?? [];
  return {
    known: {
      keys: keys.success ? keys.data.map(({ name }) => name) : 'any',
      issuers: issuers.success ? issuers.data : 'any',
      predicateTypes,
    },
    policyFiles: files.flatMap((file) => settled.min(1).safeParse(file).data ?? []),
  };
};

const at = (value: unknown, ...path: readonly string[]): unknown =>
  path.reduce<unknown>(
    (node, name) =>
      typeof node === 'object' && node !== null && Object.hasOwn(node, name) ? Reflect.get(node, name) : undefined,
    value,
  );
