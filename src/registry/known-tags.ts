import type { Digest } from '../model/digest.ts';
import { repositoryName } from '../model/subject.ts';
import type { HttpResponse } from '../net/port.ts';
import { createCache } from './cache.ts';
import { dataLoss, inconsistent } from './errors.ts';
import { asStored, type NewManifest, type StoredManifest } from './manifest.ts';
import { sizeOf } from './pieces.ts';
import type { Target } from './target.ts';

/**
 * What was last read or written at tags, so that long lists are neither sent nor read again while nothing has changed: the
 * registry is asked all the same, each time. What is kept was checked against its digest, or has been given it here; that it is
 * still what the tag leads to is only ever said by the registry, in its answer to a GET.
 */
export type KnownTags = {
  get(target: Target, tag: string): StoredManifest | undefined;
  read(target: Target, tag: string, manifest: StoredManifest): void;
  /** The registry has stored it, in an answer with these headers. */
  wrote(target: Target, tag: string, manifest: NewManifest, headers: HttpResponse['headers']): void;
  /** What lies there is to be read anew, whatever is known. */
  forget(target: Target, tag: string): void;
};

/** With what it was parsed into, a manifest takes two to three times its own bytes. */
const weightOf = (manifest: StoredManifest): number => 3 * sizeOf(manifest.pieces ?? [manifest.body]) + 1_000;
const cacheBytes = 32 * 1024 * 1024;

/** Up to 32 MiB are kept, and nothing of more than 8: a manifest of 2.7 MB. */
export const createKnownTags = (): KnownTags => {
  const tags = createCache<StoredManifest>(cacheBytes, weightOf);
  const key = (target: Target, tag: string): string => `${repositoryName(target)}:${tag}`;
  /** Repositories whose entity tags are the digests of their manifests. */
  const byDigest = createCache<boolean>(10_000);
  return {
    get: (target, tag) => tags.get(key(target, tag)),
    read: (target, tag, manifest) => {
      if (manifest.etag !== undefined) byDigest.set(repositoryName(target), manifest.etag === quoted(manifest.digest));
      tags.set(key(target, tag), manifest);
    },
    wrote: (target, tag, manifest, headers) => {
      const { digest } = manifest;
      // A registry may leave it out of this answer, and has the same in the next.
      const isDigest =
        headers.etag === undefined ? byDigest.get(repositoryName(target)) : headers.etag === quoted(digest);
      tags.set(key(target, tag), asStored(manifest, isDigest ? quoted(digest) : undefined));
    },
    forget: (target, tag) => tags.delete(key(target, tag)),
  };
};

/**
 * The condition under which a manifest that is known need not be sent. Undefined unless its entity tag is its very digest, as
 * distribution and its kin have it: of any other it is not known what it stands for, and whether it ever changes.
 */
export const unlessStill = (known: StoredManifest | undefined): string | undefined =>
  known !== undefined && known.etag === quoted(known.digest) ? known.etag : undefined;

/** Throws when an answer 304 says that something else lies at the tag than what is known: `data_loss`, or `unavailable`. */
export const expectStill = ({ headers }: HttpResponse, known: StoredManifest, tag: string, target: Target): void => {
  const claimed = headers['docker-content-digest'];
  if (claimed !== undefined && claimed !== known.digest) {
    throw dataLoss(target, `manifest ${tag} is said to be unchanged, and to be another`);
  }
  if (headers.etag !== undefined && headers.etag.replace(/^W\//, '') !== known.etag) {
    throw inconsistent(target, `manifest ${tag} is said to be unchanged, with another ETag`);
  }
};

/** Has it the very bytes of what is known? */
export const isSame = (body: Uint8Array, known: StoredManifest): boolean => {
  let at = 0;
  for (const piece of known.pieces ?? [known.body]) {
    const bytes = body.subarray(at, at + piece.byteLength);
    if (Buffer.compare(bytes, piece) !== 0) return false;
    at += piece.byteLength;
  }
  return at === body.byteLength;
};

const quoted = (digest: Digest): string => `"${digest}"`;
