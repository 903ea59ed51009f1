import type { Digest } from './digest.ts';

/** What a request speaks of, as the caller names it. */
export type Subject =
  /** An image by reference, tag or digest: `registry.example/acme/app:v1` or `...@sha256:...`. */
  | { readonly kind: 'image'; readonly reference: string }
  /** A blob by digest; `name` is what policy sees and what an attestation calls it. */
  | { readonly kind: 'blob-digest'; readonly name: string; readonly digest: Digest }
  /** A small blob whole. */
  | { readonly kind: 'blob'; readonly name: string; readonly content: Uint8Array };

/** A parsed image reference, in canonical long form (`docker.io` shortcuts expanded as `index.docker.io/library/x`). */
export type ImageReference = {
  /** `host[:port]` */
  readonly registry: string;
  /** The path without the registry: `acme/app`. */
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
};

/** `host/path`: how cosign and policy rules name a repository. */
export const repositoryName = (reference: Pick<ImageReference, 'registry' | 'repository'>): string =>
  `${reference.registry}/${reference.repository}`;

/** An OCI content descriptor (OCI image-spec, "OCI Content Descriptors"). */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: Digest;
  /** bytes */
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
};

/** An image whose reference has been resolved to a digest; from here on only the digest counts. */
export type ResolvedImage = {
  readonly registry: string;
  readonly repository: string;
  readonly descriptor: Descriptor;
};
