import type { Context } from '../model/context.ts';
import { type Digest, isDigest, sha256 } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { Descriptor } from '../model/subject.ts';
import type { HttpResponse } from '../net/port.ts';
import { createCache } from './cache.ts';
import { dataLoss, statusError } from './errors.ts';
import { createKnownTags, expectStill, isSame, unlessStill } from './known-tags.ts';
import type { Pushed, StoredManifest } from './manifest.ts';
import { expectClaimed, readManifestType } from './manifest-type.ts';
import { manifestTypes, mediaTypeOf } from './media-types.ts';
import { bodyOf } from './pieces.ts';
import type { Target } from './target.ts';
import type { Transport } from './transport.ts';

/** What became of a manifest that was pushed. */
export type PutOutcome =
  | {
      readonly kind: 'stored' /** Did the registry say `OCI-Subject`? It need not mean anything. */;
      readonly subject: boolean;
    }
  /** Something else lies there than `ifMatch` says; nothing was stored. */
  | { readonly kind: 'changed' };

/** What a tag must hold for a write to happen, where the registry honours it. */
export type Condition = { readonly ifMatch: string } | { readonly ifNoneMatch: '*' };

/** Manifests of repositories (distribution-spec "Pulling manifests", "Pushing manifests"). Safe to call concurrently. */
export type Manifests = {
  /**
   * By tag or digest; undefined when there is none. What is read by digest is remembered. Where a tag leads to is asked each
   * time; while that has not changed since it was read or written here, the answer is the very manifest that it was then, and
   * its bytes are not sent again where the registry honours `If-None-Match`.
   */
  get(target: Target, reference: string, context: Context): Promise<StoredManifest | undefined>;
  /**
   * The descriptor alone, as the registry says it: its media type is not checked against the content. Undefined when there is
   * none. Costs a GET where HEAD does not say enough.
   */
  describe(target: Target, reference: string, context: Context): Promise<Descriptor | undefined>;
  /** Pushes once, without a retry: what to do after a failure differs between tags and digests. */
  put(
    target: Target,
    reference: string,
    manifest: Pushed,
    condition: Condition | undefined,
    context: Context,
  ): Promise<PutOutcome>;
  /**
   * Deletes a manifest by digest (and with it every tag that leads to it), or a tag. `refused`: the registry deletes no such
   * thing (400, 405, 501), or lets nobody (403) do it.
   */
  remove(target: Target, reference: string, context: Context): Promise<'removed' | 'absent' | 'refused'>;
};

const maxManifestBytes = 4 * 1024 * 1024;
const maxAnswerBytes = 64 * 1024;
const cacheBytes = 32 * 1024 * 1024;
const accept = { accept: manifestTypes.join(', ') };

/** Up to 32 MiB of manifests read by digest are remembered, and as many of what lies at tags. */
export const createManifests = (transport: Transport): Manifests => {
  const atTags = createKnownTags();
  const read = createCache<StoredManifest>(cacheBytes, (manifest) => manifest.body.byteLength + 400);

  const get: Manifests['get'] = async (target, reference, context) => {
    if (!isDigest(reference)) return getTagged(target, reference, context);
    const key = `${target.registry}/${target.repository}@${reference}`;
    const cached = read.get(key);
    if (cached !== undefined) return cached;
    const manifest = await transport.retried(target, context, async () => {
      const response = await fetch(target, reference, undefined, context);
      return response && checked(response, target, reference);
    });
    // Without what it was parsed into, which takes several times as much.
    if (manifest !== undefined) read.set(key, { ...manifest, json: undefined });
    return manifest;
  };

  const getTagged: Manifests['get'] = (target, tag, context) =>
    transport.retried(target, context, async () => {
      const known = atTags.get(target, tag);
      try {
        const response = await fetch(target, tag, unlessStill(known), context);
        const unchanged = response && known && still(response, known, target, tag);
        const current = unchanged ?? (response && checked(response, target, tag));
        if (current === undefined) atTags.forget(target, tag);
        else if (current !== known) atTags.read(target, tag, current);
        return current;
      } catch (error) {
        // Whatever was wrong, the next reading is one of everything.
        atTags.forget(target, tag);
        throw error;
      }
    });

  /** Undefined when there is none. Answers 304 only where it has been asked with an entity tag. */
  const fetch = async (target: Target, reference: string, ifNoneMatch: string | undefined, context: Context) => {
    const headers = ifNoneMatch === undefined ? accept : { ...accept, 'if-none-match': ifNoneMatch };
    const path = `manifests/${reference}`;
    const request = { method: 'GET', path, headers, maxBytes: maxManifestBytes, followRedirects: true } as const;
    const response = await transport.send(target, 'pull', request, context);
    if (response.status === 404) return undefined;
    if (response.status === 200 || (response.status === 304 && ifNoneMatch !== undefined)) return response;
    throw statusError(response, target, `read manifest ${reference}`);
  };

  const describe: Manifests['describe'] = async (target, reference, context) => {
    const seen = await transport.retried(target, context, async () => {
      const path = `manifests/${reference}`;
      const request = { method: 'HEAD', path, headers: accept, maxBytes: 0, followRedirects: true } as const;
      const response = await transport.send(target, 'pull', request, context);
      if (response.status === 404) return 'absent';
      if (response.status === 405 || response.status === 501) return 'unclear';
      if (response.status !== 200) throw statusError(response, target, `look for manifest ${reference}`);
      return fromHeaders(response, target, reference) ?? 'unclear';
    });
    if (seen === 'absent') return undefined;
    if (seen !== 'unclear') return seen;
    const manifest = await get(target, reference, context);
    return manifest && { mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.body.byteLength };
  };

  const put: Manifests['put'] = async (target, reference, manifest, condition, context) => {
    const made = !('body' in manifest);
    const digest = made ? manifest.digest : sha256(manifest.body);
    const headers = {
      'content-type': manifest.mediaType,
      ...(condition === undefined
        ? {}
        : 'ifMatch' in condition
          ? { 'if-match': condition.ifMatch }
          : { 'if-none-match': condition.ifNoneMatch }),
    };
    const path = `manifests/${reference}`;
    const request = {
      method: 'PUT',
      path,
      headers,
      ...(made ? bodyOf(manifest.pieces) : { body: manifest.body }),
      maxBytes: maxAnswerBytes,
    } as const;
    const response = await transport.send(target, 'pull,push', request, context);
    // Whether it was refused or stored: what was known is not what is there.
    atTags.forget(target, reference);
    if (response.status === 412) return { kind: 'changed' };
    // Quay answers 202.
    if (![200, 201, 202].includes(response.status)) {
      const error = statusError(response, target, `store manifest ${reference}`);
      throw error.metadata['registryCode'] === 'DIGEST_INVALID' ? unsettled(error) : error;
    }
    const stored = response.headers['docker-content-digest'];
    if (stored !== undefined && stored !== digest) {
      throw dataLoss(target, `manifest ${digest} was stored as something else`);
    }
    if (made && !isDigest(reference)) atTags.wrote(target, reference, manifest, response.headers);
    return { kind: 'stored', subject: response.headers['oci-subject'] !== undefined };
  };

  const remove: Manifests['remove'] = (target, reference, context) =>
    transport.retried(target, context, async () => {
      const request = { method: 'DELETE', path: `manifests/${reference}`, maxBytes: maxAnswerBytes } as const;
      const response = await transport.send(target, 'delete', request, context);
      read.delete(`${target.registry}/${target.repository}@${reference}`);
      atTags.forget(target, reference);
      if ([200, 202, 204].includes(response.status)) return 'removed';
      if (response.status === 404) return 'absent';
      if ([400, 401, 403, 405, 501].includes(response.status)) return 'refused';
      throw statusError(response, target, `delete manifest ${reference}`);
    });

  return { get, describe, put, remove };
};

/**
 * The digests are ours and right. distribution 2.8 says otherwise when it reads a link of its own that another upload of the
 * same blob is writing: that passes.
 */
const unsettled = ({ message, metadata, cause }: CountersignError): CountersignError =>
  new CountersignError('unavailable', 'REGISTRY_UNAVAILABLE', message, { retryAfterMs: 200, metadata, cause });

/** Undefined when the headers do not say enough. */
const fromHeaders = (response: HttpResponse, target: Target, reference: string): Descriptor | undefined => {
  const digest = response.headers['docker-content-digest'];
  const mediaType = mediaTypeOf(response.headers['content-type']);
  const size = Number(response.headers['content-length'] ?? Number.NaN);
  if (digest === undefined || !Number.isSafeInteger(size) || size <= 0 || !manifestTypes.includes(mediaType))
    return undefined;
  expectDigest(digest, target, reference);
  return isDigest(digest) ? { mediaType, digest, size } : undefined;
};

const checked = (response: HttpResponse, target: Target, reference: string): StoredManifest => {
  const digest: Digest = sha256(response.body);
  expectDigest(digest, target, reference);
  expectSaid(response, digest, target, reference);
  const { mediaType, json } = readManifestType(response, reference, target);
  return { mediaType, digest, body: response.body, etag: response.headers.etag, json };
};

/** What is known already, when the answer is that it is unchanged, or has the same bytes; undefined otherwise. */
const still = (
  response: HttpResponse,
  known: StoredManifest,
  target: Target,
  tag: string,
): StoredManifest | undefined => {
  if (response.status === 304) {
    expectStill(response, known, tag, target);
    return known;
  }
  if (!isSame(response.body, known)) return undefined;
  expectSaid(response, known.digest, target, tag);
  expectClaimed(response, known.mediaType, tag, target);
  const { etag } = response.headers;
  const { mediaType, digest, json } = known;
  return etag === known.etag ? known : { mediaType, digest, body: response.body, etag, json };
};

const expectSaid = ({ headers }: HttpResponse, digest: Digest, target: Target, reference: string): void => {
  const claimed = headers['docker-content-digest'];
  if (claimed !== undefined && claimed !== digest) {
    throw dataLoss(target, `what came for manifest ${reference} is not what the registry says it is`);
  }
};

const expectDigest = (digest: string, target: Target, reference: string): void => {
  if (isDigest(reference) && digest !== reference) {
    throw dataLoss(target, `what came for manifest ${reference} is something else`);
  }
};
