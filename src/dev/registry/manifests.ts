import { isContentDigest } from './digest.ts';
import type { Exchange } from './exchange.ts';
import { missingContent, readManifest } from './manifest.ts';
import type { Repository, StoredManifest, Store } from './store.ts';

const maxManifestBytes = 4 * 1024 * 1024;
const tagPattern = /^\w[\w.-]{0,127}$/;

/** What entity tags are for: conditions of readings and writes, those of readings alone, or none (`ignored`); false: there are none. */
export type EntityTags = boolean | 'reads' | 'ignored';
export type ManifestBehaviour = { readonly referrers: boolean; readonly etag: EntityTags };

/** `/v2/<name>/manifests/<tag or digest>`: HEAD, GET, PUT (conditional as `etag` says) and DELETE. */
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
    remove(repository, reference);
    exchange.answer(202);
    return;
  }
  if (exchange.method !== 'GET' && exchange.method !== 'HEAD') {
    exchange.refuse(405, 'UNSUPPORTED', 'the operation is unsupported');
    return;
  }
  const headers = {
    'content-type': manifest.mediaType,
    'docker-content-digest': manifest.digest,
    ...(behaviour.etag !== false ? { etag: etagOf(manifest) } : {}),
  };
  const isKnown = exchange.request.headers['if-none-match'] === etagOf(manifest);
  if (isKnown && (behaviour.etag === true || behaviour.etag === 'reads')) exchange.answer(304, headers);
  else exchange.answer(200, headers, manifest.body);
};

/** By tag the tag alone goes; by digest the manifest goes, and every tag that named it. */
const remove = (repository: Repository, reference: string): void => {
  if (repository.tags.delete(reference)) return;
  repository.manifests.delete(reference);
  for (const [tag, digest] of repository.tags) if (digest === reference) repository.tags.delete(tag);
};

const putManifest = async (
  exchange: Exchange,
  store: Store,
  name: string,
  reference: string,
  behaviour: ManifestBehaviour,
): Promise<void> => {
  const byDigest = isContentDigest(reference);
  const tags = byDigest ? exchange.url.searchParams.getAll('tag') : [reference];
  const body = await exchange.body(maxManifestBytes);
  const mediaType = (exchange.request.headers['content-type'] ?? '').split(';', 1)[0]?.trim() ?? '';
  const manifest = readManifest(body, mediaType, byDigest ? reference : undefined);
  if (manifest === 'invalid' || mediaType === '') {
    exchange.refuse(400, 'MANIFEST_INVALID', 'manifest invalid');
    return;
  }
  if (manifest === 'another digest') {
    exchange.refuse(400, 'DIGEST_INVALID', 'this is not the digest of the manifest');
    return;
  }
  if (!tags.every((tag) => tagPattern.test(tag))) {
    exchange.refuse(400, 'TAG_INVALID', 'the reference is neither a tag nor a digest');
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
  for (const tag of tags) repository.tags.set(tag, manifest.digest);
  exchange.answer(201, {
    location: `/v2/${name}/manifests/${manifest.digest}`,
    'docker-content-digest': manifest.digest,
    ...(byDigest && tags.length > 0 ? { 'oci-tag': tags.join(', ') } : {}),
    ...(behaviour.referrers && manifest.subject !== undefined ? { 'oci-subject': manifest.subject } : {}),
  });
};

const findManifest = (repository: Repository, reference: string): StoredManifest | undefined =>
  repository.manifests.get(isContentDigest(reference) ? reference : (repository.tags.get(reference) ?? ''));

const etagOf = (manifest: StoredManifest): string => `"${manifest.digest}"`;

const conditionHolds = (exchange: Exchange, current: StoredManifest | undefined): boolean => {
  const ifMatch = exchange.request.headers['if-match'];
  const ifNoneMatch = exchange.request.headers['if-none-match'];
  if (ifMatch !== undefined && (current === undefined || ifMatch !== etagOf(current))) return false;
  return !(ifNoneMatch === '*' && current !== undefined);
};
