import { z } from 'zod';
import type { Digest } from '../model/digest.ts';
import { malformed } from './errors.ts';
import { dockerIndex, dockerManifest, ociIndex, ociManifest } from './media-types.ts';
import type { Pieces } from './pieces.ts';
import type { Target } from './target.ts';

/** A manifest as it was read: its exact bytes, checked against its digest. */
export type StoredManifest = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly body: Uint8Array;
  /** Those of `body`, where it was made here: it need not be put together to be compared. */
  readonly pieces?: Pieces | undefined;
  /** The `ETag`, when the registry sent one. */
  readonly etag: string | undefined;
  /** What `body` says, where that has been read already; nobody changes it. What it was parsed into is remembered with it. */
  readonly json?: JsonObject | undefined;
};

/** A manifest that was made here: with its digest, which is not taken again of what is long, and what its bytes say. */
export type NewManifest = {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Its bytes: those of all pieces, one after the other. */
  readonly pieces: Pieces;
  readonly json: JsonObject;
};

/** As it would be read. The bytes are put together when somebody looks at them; nobody does where a tag is only added to. */
export const asStored = (
  { mediaType, digest, pieces, json }: NewManifest,
  etag: string | undefined,
): StoredManifest => {
  let whole: Uint8Array | undefined;
  return {
    mediaType,
    digest,
    pieces,
    etag,
    json,
    get body() {
      whole ??= Buffer.concat(pieces);
      return whole;
    },
  };
};

/** What can be pushed. */
export type Pushed = NewManifest | Pick<StoredManifest, 'mediaType' | 'body'>;

export type JsonObject = Readonly<Record<string, unknown>>;

const annotations = z.record(z.string(), z.string());

/** OCI image-spec "Content Descriptors". Fields that we do not know are kept. */
export type ManifestDescriptor = {
  readonly mediaType: string;
  /** Any algorithm: what we do not read ourselves must not make a whole list unreadable. */
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Record<string, string> | null | undefined;
  readonly artifactType?: string | null | undefined;
  readonly [other: string]: unknown;
};

const digestPattern = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/;

/** By hand, since lists hold a thousand of them: the schema takes three times as long as reading the JSON. */
const isDescriptor = (value: unknown): value is ManifestDescriptor => {
  if (!isObject(value)) return false;
  const { mediaType, digest, size, annotations: notes, artifactType } = value;
  return (
    isText(mediaType) &&
    isText(digest) &&
    digestPattern.test(digest) &&
    Number.isSafeInteger(size) &&
    Number(size) >= 0 &&
    Number(size) <= 2 ** 50 &&
    (notes === undefined || notes === null || (isObject(notes) && Object.values(notes).every(isString))) &&
    (artifactType === undefined || artifactType === null || isText(artifactType))
  );
};

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isString = (value: unknown): value is string => typeof value === 'string';
const isText = (value: unknown): value is string => isString(value) && value.length <= 255;

const descriptor = z.custom<ManifestDescriptor>(isDescriptor, 'must be a content descriptor');

const imageManifest = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().max(255).nullish(),
  config: descriptor,
  layers: z.array(descriptor).readonly().nullish(),
  subject: descriptor.nullish(),
  annotations: annotations.nullish(),
});

const indexManifest = z.looseObject({
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  manifests: z.array(descriptor).readonly().nullish(),
  annotations: annotations.nullish(),
});

/** Fields that we do not know are kept, so that they survive when a manifest is added to. */
export type ImageManifest = z.infer<typeof imageManifest>;
export type IndexManifest = z.infer<typeof indexManifest>;

type Kind<T> = {
  readonly schema: z.ZodType<T>;
  /** The list of the other kind; a document with both is read differently by different readers (CVE-2021-41190). */
  readonly foreign: 'manifests' | 'layers';
  /** By the JSON of `StoredManifest`: a list of a thousand is checked once. */
  readonly parsed: WeakMap<JsonObject, T>;
};

const images: Kind<ImageManifest> = { schema: imageManifest, foreign: 'manifests', parsed: new WeakMap() };
const indexes: Kind<IndexManifest> = { schema: indexManifest, foreign: 'layers', parsed: new WeakMap() };

/** What was made here of what had been parsed need not be parsed again when it comes as the `json` of a manifest. */
export const madeImage = (image: ImageManifest): JsonObject => made(images, image);
export const madeIndex = (index: IndexManifest): JsonObject => made(indexes, index);

const made = <T extends JsonObject>({ parsed }: Kind<T>, value: T): JsonObject => {
  parsed.set(value, value);
  return value;
};

/** Parses an image manifest (OCI image-spec "Image Manifest", or Docker schema 2). Throws `unavailable`, reason `REGISTRY_RESPONSE_INVALID`. */
export const parseImageManifest = (stored: StoredManifest, target: Target): ImageManifest => {
  if (stored.mediaType !== ociManifest && stored.mediaType !== dockerManifest) {
    throw malformed(target, `${stored.digest} is ${stored.mediaType}, not an image manifest`);
  }
  return parse(images, stored, target);
};

/** Parses an image index. Throws `unavailable`, reason `REGISTRY_RESPONSE_INVALID`. */
export const parseIndex = (stored: StoredManifest, target: Target): IndexManifest => {
  if (stored.mediaType !== ociIndex && stored.mediaType !== dockerIndex) {
    throw malformed(target, `${stored.digest} is ${stored.mediaType}, not an image index`);
  }
  return parse(indexes, stored, target);
};

const parse = <T extends { mediaType?: string | undefined }>(
  { schema, foreign, parsed: known }: Kind<T>,
  stored: StoredManifest,
  target: Target,
): T => {
  const before = stored.json && known.get(stored.json);
  if (before !== undefined) return before;
  const json = stored.json ?? parseJsonObject(stored.body);
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    // The path may hold names out of the manifest, of any length: only its beginning is ours.
    throw malformed(target, `${stored.digest} is not a valid manifest (${String(issue?.path[0])}: ${issue?.message})`);
  }
  if (json !== undefined && foreign in json) {
    throw malformed(target, `${stored.digest} is an image manifest and an index at once`);
  }
  if (parsed.data.mediaType !== undefined && parsed.data.mediaType !== stored.mediaType) {
    throw malformed(target, `${stored.digest} says another media type than the registry`);
  }
  if (json !== undefined) known.set(json, parsed.data);
  return parsed.data;
};

/** JSON of a whole object, strict UTF-8; undefined for anything else. */
export const parseJsonObject = (body: Uint8Array): JsonObject | undefined => {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

/** The bytes of a manifest, as Go's encoder and so every other tool writes it: no white space. */
export const encodeJson = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
