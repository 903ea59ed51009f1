import { CountersignError } from '../model/error.ts';
import { type Algorithm, algorithms } from './algorithms.ts';
import type { KeyKind } from './backends.ts';
import { protects } from './common-settings.ts';
import type { ConfiguredKey } from './configured.ts';
import type { KeyDescription, ProtectionLevel } from './port.ts';
import type { KeySettings } from './settings.ts';

/** A setting that FIPS mode does not allow: its name, and what to do. */
type Fault = { readonly field: string; readonly message: string };

/** The least that a backend must state of a key: validated by NIST's CMVP at level 2 or more. */
const leastLevel: ProtectionLevel = 'fips-140-2-l2';

/**
 * What FIPS mode asks of the settings of each kind. What a backend states of a key is judged when it is opened
 * (`assertFips`).
 */
const settingsRules: {
  readonly [Kind in KeyKind]: (settings: Extract<KeySettings, { kind: Kind }>) => Fault | undefined;
} = {
  local: () => ({
    field: 'kind',
    message: 'keys in files or memory are not allowed with fips: they are in no validated module',
  }),
  vault: ({ fipsCertificate }) =>
    fipsCertificate === undefined
      ? {
          field: 'fipsCertificate',
          message: 'must be set with fips: only FIPS builds of Vault Enterprise are validated',
        }
      : undefined,
  aws: ({ fips, endpoint, ref }) => {
    const host = URL.parse(endpoint ?? '')?.hostname ?? /^awskms:\/\/([^/]+)\//.exec(ref ?? '')?.[1];
    if (host !== undefined) {
      return /^(?:[^.]+\.)?kms-fips\./.test(host)
        ? undefined
        : {
            field: endpoint === undefined ? 'ref' : 'endpoint',
            message: 'must be a FIPS endpoint (kms-fips.REGION...) with fips',
          };
    }
    return fips === true
      ? undefined
      : { field: 'fips', message: 'must be true with fips: the FIPS endpoint of the region' };
  },
  gcp: () => undefined,
  azure: ({ disableChallengeResourceVerification }) =>
    disableChallengeResourceVerification
      ? {
          field: 'disableChallengeResourceVerification',
          message: 'must not be set with fips: any host could state any level',
        }
      : undefined,
  pkcs11: ({ fipsCertificate }) =>
    fipsCertificate === undefined
      ? {
          field: 'fipsCertificate',
          message: 'must be set with fips: PKCS#11 does not tell whether a module is validated',
        }
      : undefined,
};

/** The settings of these keys that FIPS mode does not allow, each with its path. */
export const fipsFaults = (
  keys: readonly ConfiguredKey[],
): readonly { readonly path: readonly (string | number)[]; readonly message: string }[] =>
  keys.flatMap((key, index) => {
    if (key.kind === 'group') return [];
    const rule = settingsRules[key.kind] as (settings: KeySettings) => Fault | undefined;
    const fault = rule(key);
    return fault === undefined ? [] : [{ path: ['keys', index, fault.field], message: fault.message }];
  });

/** FIPS 186-5: ECDSA over P-256, P-384 and P-521, RSA of 2048 bits or more, EdDSA; with hashes of FIPS 180-4. No other is known here. */
const approved: Readonly<Record<Algorithm['type'], boolean>> = { ec: true, rsa: true, ed25519: true };

/** How a FIPS build of Vault Enterprise names its version: `1.19.0+ent.hsm.fips1402`. */
const vaultFipsBuild = /\+ent(?:\.hsm)?\.fips140\d/;

const standsAs = (settings: KeySettings, { protectionLevel, evidence }: KeyDescription): boolean => {
  if (settings.kind === 'vault') return vaultFipsBuild.test(evidence['version'] ?? '');
  // The certificate is the operator's word; that there is hardware at all is the token's.
  if (settings.kind === 'pkcs11') return protects(protectionLevel, 'hsm');
  return protects(protectionLevel, leastLevel);
};

/**
 * Throws `failed_precondition`, reason `FIPS_REFUSED`, unless what the backend states of the key is enough for FIPS mode:
 * an approved algorithm, and a validated module. For Vault that is what its version says, for PKCS#11 hardware.
 */
export const assertFips = (settings: KeySettings, description: KeyDescription): void => {
  const { signing, protectionLevel, evidence } = description;
  const refuse = (why: string): CountersignError =>
    new CountersignError(
      'failed_precondition',
      'FIPS_REFUSED',
      `Key ${settings.name} cannot be used with fips: ${why}.`,
      {
        metadata: { key: settings.name },
      },
    );
  if (!approved[algorithms[signing.algorithm].type]) throw refuse(`its algorithm ${signing.algorithm} is not approved`);
  if (standsAs(settings, description)) return;
  if (settings.kind === 'vault')
    throw refuse(`its Vault states version ${evidence['version'] ?? 'unknown'}, which is no FIPS build`);
  throw refuse(
    `its backend states ${protectionLevel}, and ${settings.kind === 'pkcs11' ? 'hsm' : leastLevel} is needed`,
  );
};

/** Reasons for which a key that was reached is not used: no other attempt changes them. */
export const isRefusal = ({ reason }: CountersignError): boolean =>
  reason === 'FIPS_REFUSED' || reason === 'PROTECTION_LEVEL' || reason === 'KEY_UNSUPPORTED';
