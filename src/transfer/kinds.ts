import { isBundleType } from '../registry/media-types.ts';
import type { ImageManifest, ManifestDescriptor } from '../registry/manifest.ts';
import type { Suffix } from './source.ts';

/** What something attached to an image is for. */
export type Kind = 'signature' | 'attestation' | 'sbom' | 'other';
export type Format = 'simple-signing' | 'dsse' | 'bundle' | 'artifact';

export const kindOfSuffix: Readonly<Record<Suffix, Kind>> = { sig: 'signature', att: 'attestation', sbom: 'sbom' };

/** What `cosign sign` says it has signed, in a bundle. */
export const signType = 'https://sigstore.dev/cosign/sign/v1';
const contentAnnotation = 'dev.sigstore.bundle.content';
const predicateAnnotation = 'dev.sigstore.bundle.predicateType';
const legacyArtifacts: Readonly<Record<string, Kind>> = {
  'application/vnd.dev.cosign.artifact.sig.v1+json': 'signature',
  'application/vnd.in-toto+json': 'attestation',
  'application/vnd.dev.cosign.artifact.sbom.v1+json': 'sbom',
};
/** The types of SBOMs themselves, not of whatever has to do with them: `clean` removes by it. */
const sbomArtifact = /^(application|text)\/(vnd\.)?(spdx|cyclonedx|syft)(\+[a-z]+)?( *;.*)?$/i;

/** A manifest that refers to another, by what it says of itself. Claims only: nothing is verified here. */
export const classifyReferrer = (
  manifest: ImageManifest | undefined,
  entry: ManifestDescriptor,
): { readonly kind: Kind; readonly format: Format; readonly predicateType: string | undefined } => {
  const annotations = { ...entry.annotations, ...manifest?.annotations };
  const artifactType = manifest?.artifactType ?? manifest?.config.mediaType ?? entry.artifactType ?? '';
  const [layer, ...more] = manifest?.layers ?? [];
  if (layer !== undefined && more.length === 0 && isBundleType(layer.mediaType)) {
    const predicateType = annotations[predicateAnnotation];
    const signs = predicateType === signType || annotations[contentAnnotation] === 'message-signature';
    return { kind: signs ? 'signature' : 'attestation', format: 'bundle', predicateType };
  }
  const legacy = legacyArtifacts[artifactType] ?? legacyArtifacts[manifest?.config.mediaType ?? ''];
  if (legacy !== undefined) return { kind: legacy, format: formatOf[legacy], predicateType: undefined };
  const kind: Kind = sbomArtifact.test(artifactType) ? 'sbom' : 'other';
  return { kind, format: 'artifact', predicateType: undefined };
};

export const formatOf: Readonly<Record<Kind, Format>> = {
  signature: 'simple-signing',
  attestation: 'dsse',
  sbom: 'artifact',
  other: 'artifact',
};
