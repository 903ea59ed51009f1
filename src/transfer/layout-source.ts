import { z } from 'zod';
import { type Digest, isDigest, sha256 } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { checked } from '../registry/blob-stream.ts';
import { type ManifestDescriptor, parseJsonObject, type StoredManifest } from '../registry/manifest.ts';
import { manifestTypes, ociIndex, ociManifest } from '../registry/media-types.ts';
import { maxReferrers } from '../registry/referrers.ts';
import { invalid, layoutFiles, type LayoutFiles } from './layout-files.ts';
import { isIndex, type Source } from './source.ts';

/** The entries of a layout's index.json as cosign marks them. */
export const kindAnnotation = 'kind';
export const kindPrefix = 'dev.cosignproject.cosign/';
export const refAnnotation = 'org.opencontainers.image.ref.name';
export const maxIndexBytes = 4 * 1024 * 1024;
const maxManifestBytes = 4 * 1024 * 1024;
const maxScannedBytes = 256 * 1024 * 1024;
const cosignTag = /sha256-[0-9a-f]{64}\.(sig|att|sbom)$/;
const markedKinds: Readonly<Record<string, string>> = { sig: 'sigs', att: 'atts' };

export type Layout = { readonly source: Source; readonly image: Digest; readonly tag: string | undefined };

const entrySchema = z.looseObject({
  mediaType: z.string().max(255),
  digest: z.string().refine(isDigest, 'is no SHA-256 digest'),
  size: z.int().min(0),
  annotations: z.record(z.string(), z.string()).nullish(),
});
export const layoutIndex = z.looseObject({
  schemaVersion: z.literal(2),
  manifests: z.array(entrySchema).max(10_000).nullish(),
});
export type LayoutEntry = z.infer<typeof entrySchema>;

/**
 * Opens an OCI layout and finds its image: the one of that tag (`org.opencontainers.image.ref.name`) or digest, else the one that cosign marks,
 * else the only one. Throws `failed_precondition`, reason `LAYOUT_INVALID`; `not_found` and `invalid_argument`, reason `IMAGE_NOT_FOUND` and
 * `IMAGE_AMBIGUOUS`.
 */
export const openLayout = async (folder: string, wanted?: string): Promise<Layout> => {
  const files = layoutFiles(folder);
  const entries = await readEntries(files);
  if (entries === undefined) throw invalid(folder, 'it has no index.json');
  const referring = await findReferring(files);
  const isReferring = new Set([...referring.values()].flat().map(({ digest }) => digest));
  const image = chooseImage(folder, entries, isReferring, wanted);

  /** What descriptors say: manifests need not say it themselves. */
  const told = new Map<unknown, unknown>();
  const tell = (entry: Partial<ManifestDescriptor> | null): void => {
    if (!told.has(entry?.digest)) told.set(entry?.digest, entry?.mediaType);
  };
  entries.forEach(tell);

  const manifest = async (digest: Digest): Promise<StoredManifest | undefined> => {
    const body = await files.readBlob(digest, maxManifestBytes);
    if (body === undefined) return undefined;
    if (sha256(body) !== digest) throw mismatch(folder, `what lies at blob ${digest} is something else`);
    const json = parseJsonObject(body);
    const mediaType = mediaTypeOf(json, told.get(digest));
    if (mediaType === undefined) throw invalid(folder, `${digest} is no manifest`);
    if (isIndex(mediaType) && Array.isArray(json?.['manifests'])) json['manifests'].forEach(tell);
    return { mediaType, digest, body, etag: undefined };
  };

  const source: Source = {
    name: folder,
    target: undefined,
    manifest,
    tagged: async (tag) => {
      const [, hex, suffix = ''] = /sha256-([0-9a-f]{64})\.(sig|att|sbom)$/.exec(tag) ?? [];
      const kind = `sha256:${hex}` === image.digest ? markedKinds[suffix] : undefined;
      const named = entries.filter(({ annotations }) => annotations?.[refAnnotation] === tag);
      const marked = entries.filter(
        ({ annotations }) => kind !== undefined && annotations?.[kindAnnotation] === `${kindPrefix}${kind}`,
      );
      const [found, ...more] = unique(named.length > 0 ? named : marked);
      if (found === undefined) return undefined;
      // Whichever was taken, the others would be lost.
      if (more.length > 0) throw invalid(folder, `index.json lists ${1 + more.length} manifests as ${tag}`);
      const stored = await manifest(found.digest);
      if (stored === undefined) throw invalid(folder, `index.json lists ${found.digest}, which is not there`);
      return stored;
    },
    referrers: async (digest) => {
      const all = referring.get(digest) ?? [];
      if (all.length > maxReferrers) throw invalid(folder, `more than ${maxReferrers} manifests refer to ${digest}`);
      return all;
    },
    blob: (blob) => checked(blob, files.streamBlob(blob.digest), (what) => mismatch(folder, what)),
  };
  const ref = image.annotations?.[refAnnotation];
  return { source, image: image.digest, tag: ref };
};

/** Does the layout list an image that is neither this one nor below it nor attached to anything? What is not there any more does not count. */
export const listsOtherImages = async (
  files: LayoutFiles,
  entries: readonly LayoutEntry[],
  root: Digest,
): Promise<boolean> => {
  const referring = await findReferring(files);
  const own = new Set<string>([root, ...[...referring.values()].flat().map(({ digest }) => digest)]);
  for (const digest of own) {
    const body = isDigest(digest) ? await files.readBlob(digest, maxManifestBytes) : undefined;
    const below = body && parseJsonObject(body)?.['manifests'];
    if (Array.isArray(below)) for (const entry of below) own.add(String(entry?.digest));
  }
  for (const entry of imagesIn(entries, own)) {
    const { artifactType } = entry as ManifestDescriptor;
    if ((artifactType ?? '') === '' && (await files.hasBlob(entry))) return true;
  }
  return false;
};

const refOf = (entry: LayoutEntry): string => entry.annotations?.[refAnnotation] ?? '';
const kindOf = (entry: LayoutEntry): string => entry.annotations?.[kindAnnotation] ?? '';

/** What may be an image, not something attached. */
const imagesIn = (entries: readonly LayoutEntry[], not: ReadonlySet<string>): readonly LayoutEntry[] =>
  entries.filter(
    (entry) =>
      manifestTypes.includes(entry.mediaType) &&
      !/\/(sigs|atts)$/.test(kindOf(entry)) &&
      !cosignTag.test(refOf(entry)) &&
      !not.has(entry.digest),
  );

/** Undefined when there is no index.json. */
export const readEntries = async (files: LayoutFiles): Promise<readonly LayoutEntry[] | undefined> => {
  const content = await files.read('index.json', maxIndexBytes);
  if (content === undefined) return undefined;
  const parsed = layoutIndex.safeParse(parseJsonObject(content));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(files.folder, `its index.json is not valid (${String(issue?.path[0] ?? '')}: ${issue?.message})`);
  }
  return parsed.data.manifests ?? [];
};

/** What refers to what. cosign does not list bundles in index.json, so every blob that may be a manifest is looked at. */
const findReferring = async (files: LayoutFiles): Promise<ReadonlyMap<string, readonly ManifestDescriptor[]>> => {
  const referring = new Map<string, ManifestDescriptor[]>();
  let bytes = 0;
  for (const digest of await files.listBlobs(maxManifestBytes)) {
    const body = (await files.isJson(digest)) ? await files.readBlob(digest, maxManifestBytes) : undefined;
    bytes += body?.byteLength ?? 0;
    if (bytes > maxScannedBytes) throw invalid(files.folder, `its JSON blobs have more than ${maxScannedBytes} bytes`);
    if (body === undefined || !Buffer.from(body).includes('"subject"')) continue;
    const json = parseJsonObject(body);
    const subject = (json?.['subject'] as { readonly digest?: unknown } | null | undefined)?.digest;
    const mediaType = mediaTypeOf(json, undefined);
    if (typeof subject !== 'string' || mediaType === undefined) continue;
    if (sha256(body) !== digest) throw mismatch(files.folder, `what lies at blob ${digest} is something else`);
    const artifactType = json?.['artifactType'];
    const entry = {
      mediaType,
      digest,
      size: body.byteLength,
      ...(typeof artifactType === 'string' ? { artifactType } : {}),
    };
    const others = referring.get(subject);
    if (others === undefined) referring.set(subject, [entry]);
    else others.push(entry);
  }
  return referring;
};

const chooseImage = (
  folder: string,
  entries: readonly LayoutEntry[],
  isReferring: ReadonlySet<string>,
  wanted: string | undefined,
): LayoutEntry => {
  const images = imagesIn(entries, isReferring);
  const fitting =
    wanted === undefined ? images : entries.filter((entry) => refOf(entry) === wanted || entry.digest === wanted);
  const marked = fitting.filter((entry) => [`${kindPrefix}image`, `${kindPrefix}imageIndex`].includes(kindOf(entry)));
  const tagged = fitting.filter((entry) => refOf(entry) !== '');
  const indexes = fitting.filter((entry) => isIndex(entry.mediaType));
  // Tools list the images below an index as well: what is tagged counts for more, and then what lists others.
  const [found, ...more] = unique([marked, tagged, indexes, fitting].find((some) => some.length > 0) ?? []);
  const names = unique(images)
    .map((entry) => refOf(entry) || entry.digest)
    .slice(0, 20);
  if (found === undefined) {
    throw new CountersignError(
      'not_found',
      'IMAGE_NOT_FOUND',
      `${folder} has no image${wanted === undefined ? '' : ` ${wanted}`}${names.length === 0 ? '' : `; it has ${names.join(', ')}`}.`,
    );
  }
  if (more.length > 0) {
    throw new CountersignError(
      'invalid_argument',
      'IMAGE_AMBIGUOUS',
      `${folder} has several images; choose one with --ref: ${names.join(', ')}.`,
    );
  }
  return found;
};

const unique = (entries: readonly LayoutEntry[]): readonly LayoutEntry[] => [
  ...new Map(entries.map((entry) => [entry.digest, entry])).values(),
];

/** Of a manifest: what it says, else what its descriptor says (`told`), else what its fields are of (OCI image-spec lets it say nothing). */
const mediaTypeOf = (json: ReturnType<typeof parseJsonObject>, told: unknown): string | undefined => {
  const byFields = json?.['manifests'] === undefined ? json?.['config'] && ociManifest : ociIndex;
  const mediaType = json?.['mediaType'] ?? told ?? byFields;
  return typeof mediaType === 'string' && manifestTypes.includes(mediaType) ? mediaType : undefined;
};

const mismatch = (folder: string, what: string): CountersignError =>
  new CountersignError('data_loss', 'DIGEST_MISMATCH', `${folder}: ${what}.`);
