import { isDigest } from '../model/digest.ts';
import type { Exchange } from './registry-exchange.ts';
import { readManifest, type Repository, type StoredManifest, type Store } from './registry-store.ts';

const maxManifestBytes = 4 * 1024 * 1024;
const tagPattern = /^\w[\w.-]{0,127}$/;
const ociIndex = 'application/vnd.oci.image.index.v1+json';

export type ManifestBehaviour = { readonly referrers: boolean; readonly etag: boolean | 'ignored' };

/** `/v2/<name>/manifests/<tag or digest>`: HEAD, GET, PUT (conditional when `etag` is on) and DELETE. */
export const serveManifest = async (
  exchange: Exchange,
  store: Store,
  name: string,
  reference: string,
  behaviour: ManifestBehaviour,
): Promise<void> => {
  if (exchange.method === 'PUT') return putManifest(exchange, store, name, reference, behaviour);
  const repository = store.find(name);
  const manifest = repository && findManifest(repository, reference);
  if (repository === undefined || manifest === undefined) {
    exchange.refuse(404, 'MANIFEST_UNKNOWN', 'manifest unknown');
    return;
  }
  if (exchange.method === 'DELETE') {
    if (repository.tags.delete(reference) || repository.manifests.delete(manifest.digest)) exchange.answer(202);
    if (isDigest(reference)) {
      for (const [tag, digest] of repository.tags) if (digest === reference) repository.tags.delete(tag);
    }
    return;
  }
  if (exchange.method !== 'GET' && exchange.method !== 'HEAD') {
    exchange.refuse(405, 'UNSUPPORTED', 'the operation is unsupported');
    return;
  }
  exchange.answer(
    200,
    {
      'content-type': manifest.mediaType,
      'docker-content-digest': manifest.digest,
      ...(behaviour.etag !== false ? { etag: etagOf(manifest) } : {}),
    },
    manifest.body,
  );
};

const putManifest = async (
  exchange: Exchange,
  store: Store,
  name: string,
  reference: string,
  behaviour: ManifestBehaviour,
): Promise<void> => {
  const body = await exchange.body(maxManifestBytes);
  const mediaType = exchange.request.headers['content-type'] ?? '';
  const manifest = readManifest(body, mediaType);
  if (manifest === undefined || mediaType === '') {
    exchange.refuse(400, 'MANIFEST_INVALID', 'manifest invalid');
    return;
  }
  if (isDigest(reference) ? manifest.digest !== reference : !tagPattern.test(reference)) {
    exchange.refuse(400, 'DIGEST_INVALID', 'the reference is no tag and not the digest of the manifest');
    return;
  }
  const repository = store.open(name);
  const missing = missingContent(manifest, repository);
  if (missing !== undefined) {
    exchange.refuse(404, 'MANIFEST_BLOB_UNKNOWN', `the manifest refers to ${missing}, which is not here`);
    return;
  }
  if (behaviour.etag === true && !conditionHolds(exchange, findManifest(repository, reference))) {
    exchange.refuse(412, 'PRECONDITION_FAILED', 'something else lies here');
    return;
  }
  repository.manifests.set(manifest.digest, manifest);
  if (!isDigest(reference)) repository.tags.set(reference, manifest.digest);
  exchange.answer(201, {
    location: `/v2/${name}/manifests/${manifest.digest}`,
    'docker-content-digest': manifest.digest,
    ...(behaviour.referrers && manifest.subject !== undefined ? { 'oci-subject': manifest.subject } : {}),
  });
};

const findManifest = (repository: Repository, reference: string): StoredManifest | undefined =>
  repository.manifests.get(isDigest(reference) ? reference : (repository.tags.get(reference) ?? ''));

const etagOf = (manifest: StoredManifest): string => `"${manifest.digest}"`;

const conditionHolds = (exchange: Exchange, current: StoredManifest | undefined): boolean => {
  const ifMatch = exchange.request.headers['if-match'];
  const ifNoneMatch = exchange.request.headers['if-none-match'];
  if (ifMatch !== undefined && (current === undefined || ifMatch !== etagOf(current))) return false;
  return !(ifNoneMatch === '*' && current !== undefined);
};

/** Registries refuse a manifest whose parts were not pushed; a `subject` may come later. */
const missingContent = (manifest: StoredManifest, repository: Repository): string | undefined => {
  const json: unknown = JSON.parse(manifest.body.toString('utf8'));
  const parts = json as { config?: unknown; layers?: unknown; manifests?: unknown };
  const digests = (list: unknown): string[] =>
    (Array.isArray(list) ? list : []).map((entry) => String((entry as { digest?: unknown } | null)?.digest));
  return (
    digests(parts.config === undefined ? [] : [parts.config]).find((digest) => !repository.blobs.has(digest)) ??
    digests(parts.layers).find((digest) => !repository.blobs.has(digest)) ??
    digests(parts.manifests).find((digest) => !repository.manifests.has(digest))
  );
};

/** `/v2/<name>/referrers/<digest>`: what refers to a digest, optionally of one artifact type. */
export const serveReferrers = (exchange: Exchange, store: Store, name: string, digest: string): void => {
  if (!isDigest(digest)) {
    exchange.refuse(400, 'DIGEST_INVALID', 'the subject is no digest');
    return;
  }
  const wanted = exchange.url.searchParams.get('artifactType');
  const manifests = [...(store.find(name)?.manifests.values() ?? [])]
    .filter((manifest) => manifest.subject === digest)
    .filter((manifest) => wanted === null || manifest.artifactType === wanted)
    .map((manifest) => ({
      mediaType: manifest.mediaType,
      digest: manifest.digest,
      size: manifest.body.byteLength,
      artifactType: manifest.artifactType,
      annotations: manifest.annotations,
    }));
  exchange.answer(
    200,
    { 'content-type': ociIndex, ...(wanted === null ? {} : { 'oci-filters-applied': 'artifactType' }) },
    JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests }),
  );
};

/** `/v2/<name>/tags/list`, in pages of `n` after `last`. */
export const serveTags = (exchange: Exchange, store: Store, name: string): void => {
  const repository = store.find(name);
  if (repository === undefined) {
    exchange.refuse(404, 'NAME_UNKNOWN', 'repository name not known to registry');
    return;
  }
  const last = exchange.url.searchParams.get('last') ?? '';
  const count = Math.min(Number(exchange.url.searchParams.get('n') ?? 1_000) || 0, 1_000);
  const rest = [...repository.tags.keys()].sort().filter((tag) => tag > last);
  const tags = rest.slice(0, count);
  const more = rest.length > tags.length && tags.length > 0;
  const next = `/v2/${name}/tags/list?n=${count}&last=${encodeURIComponent(tags.at(-1) ?? '')}`;
  exchange.answer(
    200,
    { 'content-type': 'application/json', ...(more ? { link: `<${next}>; rel="next"` } : {}) },
    JSON.stringify({ name, tags }),
  );
};
