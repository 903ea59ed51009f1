import { isContentDigest } from './digest.ts';
import type { Exchange } from './exchange.ts';
import type { Store } from './store.ts';

const ociIndex = 'application/vnd.oci.image.index.v1+json';

/** `/v2/<name>/referrers/<digest>`: what refers to a digest, optionally of one artifact type. */
export const serveReferrers = (exchange: Exchange, store: Store, name: string, digest: string): void => {
  if (!isRead(exchange)) return;
  if (!isContentDigest(digest)) {
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
  if (!isRead(exchange)) return;
  const repository = store.find(name);
  if (repository === undefined) {
    exchange.refuse(404, 'NAME_UNKNOWN', 'repository name not known to registry');
    return;
  }
  const asked = exchange.url.searchParams.get('n') ?? '1000';
  if (!/^\d+$/.test(asked)) {
    exchange.refuse(400, 'PAGINATION_NUMBER_INVALID', 'n is a count of tags');
    return;
  }
  const count = Math.min(Number(asked), 1_000);
  const last = exchange.url.searchParams.get('last') ?? '';
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

const isRead = (exchange: Exchange): boolean => {
  if (exchange.method === 'GET' || exchange.method === 'HEAD') return true;
  exchange.refuse(405, 'UNSUPPORTED', 'the operation is unsupported');
  return false;
};
