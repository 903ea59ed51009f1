import type { HttpResponse } from '../net/port.ts';
import { malformed } from './errors.ts';
import { type JsonObject, parseJsonObject } from './manifest.ts';
import { dockerIndex, manifestTypes, mediaTypeOf, ociIndex, ociManifest } from './media-types.ts';
import type { Target } from './target.ts';

/**
 * The media type of a manifest, by its content, which is answered too: what it says itself, or else what it is made of (OCI
 * image-spec lets the field be absent, Docker does not). A `Content-Type` that says another kind of manifest is no different view but a lie, or a proxy's
 * mistake, and a reader who believed it would read the same digest otherwise than all others (CVE-2021-41190). Throws
 * `unavailable`, reason `REGISTRY_RESPONSE_INVALID`.
 */
export const readManifestType = (
  { headers, body }: HttpResponse,
  reference: string,
  target: Target,
): { readonly mediaType: string; readonly json: JsonObject | undefined } => {
  const claimed = mediaTypeOf(headers['content-type']);
  const json = parseJsonObject(body);
  const isImage = json !== undefined && ('config' in json || 'layers' in json);
  const isIndex = json !== undefined && 'manifests' in json;
  const made = isImage === isIndex ? undefined : isImage ? ociManifest : ociIndex;
  const type = json?.['mediaType'] ?? made;
  if (typeof type !== 'string' || !manifestTypes.includes(type)) {
    throw malformed(target, `manifest ${reference} is of a kind that is not known (${claimed.slice(0, 100)})`);
  }
  if (made !== undefined && isIndex !== (type === ociIndex || type === dockerIndex)) {
    throw malformed(target, `manifest ${reference} says that it is ${type}, and is not`);
  }
  if (isImage && isIndex) throw malformed(target, `manifest ${reference} is an image manifest and an index at once`);
  expectClaimed({ headers }, type, reference, target);
  return { mediaType: type, json };
};

/** Throws when the `Content-Type` of a manifest says another kind of manifest than it is; as `readManifestType`. */
export const expectClaimed = (
  { headers }: Pick<HttpResponse, 'headers'>,
  type: string,
  reference: string,
  target: Target,
): void => {
  const claimed = mediaTypeOf(headers['content-type']);
  if (manifestTypes.includes(claimed) && claimed !== type) {
    throw malformed(target, `manifest ${reference} is ${type}, and the registry says ${claimed}`);
  }
};
