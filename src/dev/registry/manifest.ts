import { sha256 } from '../../model/digest.ts';
import { isDigestOf } from './digest.ts';
import type { Repository, StoredManifest } from './store.ts';

/**
 * Takes a manifest apart as far as a registry must. It is kept under `expected` when its bytes have that digest, and under
 * its SHA-256 digest when none is expected.
 */
export const readManifest = (
  body: Buffer,
  mediaType: string,
  expected: string | undefined,
): StoredManifest | 'invalid' | 'another digest' => {
  let json: unknown;
  try {
    json = JSON.parse(body.toString('utf8'));
  } catch {
    return 'invalid';
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return 'invalid';
  if (expected !== undefined && !isDigestOf(expected, body)) return 'another digest';
  const manifest = json as {
    subject?: { digest?: unknown };
    artifactType?: unknown;
    config?: { mediaType?: unknown };
    annotations?: Record<string, string>;
  };
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
  return {
    digest: expected ?? sha256(body),
    mediaType,
    body,
    subject: text(manifest.subject?.digest),
    artifactType: text(manifest.artifactType) ?? text(manifest.config?.mediaType),
    annotations: manifest.annotations,
  };
};

type Part = { readonly digest?: unknown; readonly mediaType?: unknown };

/** Layers that are fetched from elsewhere and need not be pushed. */
const isForeign = ({ mediaType }: Part): boolean =>
  /^application\/vnd\.(oci\.image\.layer\.nondistributable|docker\.image\.rootfs\.foreign)\./.test(String(mediaType));

/** Registries refuse a manifest whose parts were not pushed; a `subject` may come later. */
export const missingContent = (manifest: StoredManifest, repository: Repository): string | undefined => {
  const json: unknown = JSON.parse(manifest.body.toString('utf8'));
  const named = json as { config?: unknown; layers?: unknown; manifests?: unknown };
  const parts = (list: unknown): readonly Part[] =>
    (Array.isArray(list) ? list : []).map((entry) => (entry ?? {}) as Part);
  const absent = (list: readonly Part[], present: ReadonlyMap<string, unknown>): string | undefined =>
    list.map(({ digest }) => String(digest)).find((digest) => !present.has(digest));
  return (
    absent(parts(named.config === undefined ? [] : [named.config]), repository.blobs) ??
    absent(
      parts(named.layers).filter((layer) => !isForeign(layer)),
      repository.blobs,
    ) ??
    absent(parts(named.manifests), repository.manifests)
  );
};
