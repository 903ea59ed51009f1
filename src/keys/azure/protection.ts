import { createHash } from 'node:crypto';
import { z } from 'zod';
import { decodeBase64Url } from '../../codec/base64.ts';
import type { AzureBundle } from './key.ts';
import type { ProtectionLevel } from '../port.ts';

const blob = z.string().max(512 * 1024);
const attested = z.object({
  attributes: z.object({
    attestation: z.object({
      certificatePemFile: blob,
      privateKeyAttestation: blob,
      publicKeyAttestation: blob,
      version: z.string().max(64).optional(),
    }),
  }),
});

/**
 * How Azure guards the key, by what it documents of each ("About keys": key types, and `hsmPlatform`): a type without `-HSM`
 * is in software; platform 1 is validated at FIPS 140-2 level 2, platform 2 and every Managed HSM at FIPS 140-3 level 3. A key
 * that may be exported (released to an attested environment) is in an HSM, but a copy may be elsewhere.
 */
export const protectionOf = ({ key, attributes }: AzureBundle, managedHsm: boolean): ProtectionLevel => {
  if (!key.kty.endsWith('-HSM')) return 'software';
  if (attributes.exportable === true) return 'hsm';
  if (managedHsm) return 'fips-140-3-l3';
  const platform = String(attributes.hsmPlatform ?? '');
  if (platform === '1') return 'fips-140-2-l2';
  return platform === '2' ? 'fips-140-3-l3' : 'hsm';
};

/** The vault's own words, and where they were read. */
export const evidenceOf = ({ key, attributes }: AzureBundle, host: string): Record<string, string> => {
  const stated = {
    hsmPlatform: attributes.hsmPlatform,
    recoveryLevel: attributes.recoveryLevel,
    exportable: attributes.exportable,
  };
  const told = Object.entries(stated).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
  return { kty: key.kty, host, ...Object.fromEntries(told) };
};

const digest = (text: string): string | undefined => {
  const bytes = decodeBase64Url(text);
  return bytes === undefined ? undefined : `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
};

/**
 * The attestation of a key in a Managed HSM -> digests of its parts, so that what is fetched later can be compared with what
 * was there when the key was opened. Nothing in it is verified. Undefined when the answer has none.
 */
export const attestationEvidence = (answer: unknown): Record<string, string> | undefined => {
  const parsed = attested.safeParse(answer);
  if (!parsed.success) return undefined;
  const { certificatePemFile, privateKeyAttestation, publicKeyAttestation, version } =
    parsed.data.attributes.attestation;
  const [certificates, privateKey, publicKey] = [certificatePemFile, privateKeyAttestation, publicKeyAttestation].map(
    digest,
  );
  if (certificates === undefined || privateKey === undefined || publicKey === undefined) return undefined;
  return {
    attestation: `unverified${version === undefined ? '' : `, version ${version}`}`,
    'attestation.certificates': certificates,
    'attestation.privateKey': privateKey,
    'attestation.publicKey': publicKey,
  };
};
