// OCI image-spec "Media Types"; Docker image manifest version 2, schema 2.
export const ociManifest = 'application/vnd.oci.image.manifest.v1+json';
export const ociIndex = 'application/vnd.oci.image.index.v1+json';
export const dockerManifest = 'application/vnd.docker.distribution.manifest.v2+json';
export const dockerIndex = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const ociConfig = 'application/vnd.oci.image.config.v1+json';
export const dockerConfig = 'application/vnd.docker.container.image.v1+json';
export const ociEmpty = 'application/vnd.oci.empty.v1+json';

/** The manifests that an image reference may lead to. */
export const manifestTypes: readonly string[] = [ociManifest, ociIndex, dockerManifest, dockerIndex];

/** The media type of a `Content-Type` header, without parameters, lower case. */
export const mediaTypeOf = (contentType: string | undefined): string =>
  (contentType ?? '').replace(/;.*$/, '').trim().toLowerCase();

/** Every version of Sigstore bundles that can lie in a registry. */
export const isBundleType = (mediaType: string): boolean => mediaType.startsWith('application/vnd.dev.sigstore.bundle');
