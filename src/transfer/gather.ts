import type { Context } from '../model/context.ts';
import { type Digest, digestHex, isDigest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { BlobDescriptor } from '../registry/blob-stream.ts';
import type { ManifestDescriptor, StoredManifest } from '../registry/manifest.ts';
import { manifestTypes } from '../registry/media-types.ts';
import { mapParallel } from '../registry/places.ts';
import { classifyReferrer, type Format, formatOf, type Kind, kindOfSuffix } from './kinds.ts';
import { parseManifest, type Source, type Suffix, suffixes } from './source.ts';

/** One manifest, read whole and checked. */
export type Node = {
  readonly stored: StoredManifest;
  readonly from: Source;
  readonly blobs: readonly BlobDescriptor[];
  /** The manifests that an index lists. */
  readonly children: readonly Digest[];
  /** The layers of an image manifest. */
  readonly layers: readonly ManifestDescriptor[];
};

/** That one manifest is attached to another. */
export type Attachment = {
  readonly subject: Digest;
  readonly digest: Digest;
  readonly from: Source;
  readonly kind: Kind;
  readonly format: Format;
  readonly predicateType: string | undefined;
} & (
  | { readonly by: 'tag'; readonly tag: string; readonly suffix: Suffix }
  | { readonly by: 'referrer'; readonly artifactType: string; readonly annotations: Readonly<Record<string, string>> }
);

/** Something that is listed as attached, or in an index, and is not taken along. `subject`: what it is attached to, or the index. */
export type Ignored = { readonly digest: string; readonly subject: Digest; readonly why: string };

export type Graph = {
  readonly root: Digest;
  readonly nodes: ReadonlyMap<Digest, Node>;
  /** In the same order each time: signatures, attestations, SBOMs, others. */
  readonly attachments: readonly Attachment[];
  readonly ignored: readonly Ignored[];
};

export type GatherOptions = {
  /** Where attachments are looked for: the image's place, and others. */
  readonly attachedIn: readonly Source[];
  /** What the tags of attachments begin with. Default: nothing. */
  readonly tagPrefix?: string;
  /** Are manifests below an index, their attachments, and the attachments of attachments looked for? Default: true. */
  readonly deep?: boolean;
  /**
   * What is listed and is not there, as in a copy of some platforms alone, or cannot be read: is it left out, and what can be read shown? Default:
   * false, an error.
   */
  readonly lenient?: boolean;
};

const notThere = 'it is listed and not there';
const notValid = 'it is no valid manifest';
export const maxDepth = 8;
export const maxManifests = 5_000;
const maxBytes = 128 * 1024 * 1024;

/**
 * Reads the image, every manifest below it, and everything attached to any of them: cosign's tags, and referrers (API, fallback tag),
 * and what is attached to these. Throws `failed_precondition`, reason `IMAGE_TOO_LARGE`, beyond 8 levels, 5,000 manifests or 128 MiB
 * of them; `not_found`, reason `MANIFEST_NOT_FOUND`, for a manifest that an index lists and that is not there.
 */
export const gather = async (
  image: { readonly source: Source; readonly digest: Digest },
  options: GatherOptions,
  context: Context,
): Promise<Graph> => {
  const nodes = new Map<Digest, Node>();
  const attachments: Attachment[] = [];
  const ignored: Ignored[] = [];
  const started = new Set<Digest>();
  let bytes = 0;

  type Task = {
    readonly digest: Digest;
    readonly from: Source;
    readonly stored?: StoredManifest;
    /** The index that lists it. */
    readonly above?: Digest;
  };
  const ignore = (one: Ignored): readonly Task[] => {
    ignored.push(one);
    if (ignored.length > maxManifests)
      throw tooLarge(`more than ${maxManifests} manifests are listed that cannot be read`);
    return [];
  };

  /** As soon as it is read: what is only listed must not fill the memory either. */
  const count = (stored: StoredManifest): void => {
    bytes += stored.body.byteLength;
    if (bytes > maxBytes) throw tooLarge(`its manifests have more than ${maxBytes} bytes`);
    if (attachments.length > maxManifests) throw tooLarge(`more than ${maxManifests} manifests are attached to it`);
  };

  const expand = async (task: Task): Promise<readonly Task[]> => {
    const stored = task.stored ?? (await task.from.manifest(task.digest, context));
    if (stored === undefined) {
      const { digest, above: subject } = task;
      if (options.lenient === true && subject !== undefined) return ignore({ digest, subject, why: notThere });
      throw absent(task.from, digest);
    }
    if (task.stored === undefined) count(stored);
    const node = readNode(stored, task.from, options.lenient === true);
    nodes.set(task.digest, node);
    if (options.deep === false) return task.digest === image.digest ? attachedTo(node) : [];
    const below = node.children.map((digest): Task => ({ digest, from: task.from, above: task.digest }));
    return [...below, ...(await attachedTo(node))];
  };

  const attachedTo = async ({ stored }: Node): Promise<readonly Task[]> => {
    const subject = stored.digest;
    const perSource = await mapParallel(options.attachedIn, async (from) => {
      const [tags, referring] = await Promise.all([byTag(subject, from), byReferrer(subject, from)]);
      return [...tags, ...referring];
    });
    return perSource.flat();
  };

  /** Undefined: it is left out. */
  const parsed = (stored: StoredManifest, from: Source): ReturnType<typeof parseManifest> | undefined => {
    try {
      return parseManifest(stored, from);
    } catch (error) {
      if (options.lenient === true) return undefined;
      throw error;
    }
  };

  const byTag = async (subject: Digest, from: Source): Promise<readonly Task[]> => {
    const found = await mapParallel(suffixes, async (suffix): Promise<readonly Task[]> => {
      const tag = `${options.tagPrefix ?? ''}sha256-${digestHex(subject)}.${suffix}`;
      const stored = await from.tagged(tag, context);
      if (stored === undefined) return [];
      count(stored);
      const { digest } = stored;
      if (parsed(stored, from) === undefined) return ignore({ digest, subject, why: notValid });
      const kind = kindOfSuffix[suffix];
      attachments.push({
        subject,
        digest,
        from,
        kind,
        format: formatOf[kind],
        predicateType: undefined,
        by: 'tag',
        tag,
        suffix,
      });
      return [{ digest, from, stored }];
    });
    return found.flat();
  };

  const byReferrer = async (subject: Digest, from: Source): Promise<readonly Task[]> => {
    const found = await mapParallel(
      onePerDigest(await from.referrers(subject, context)),
      async (entry): Promise<readonly Task[]> => {
        const { digest, mediaType } = entry;
        const skip = (why: string): readonly Task[] => ignore({ digest, subject, why });
        if (!isDigest(digest)) return skip('its digest is of an algorithm that is not read here');
        if (!manifestTypes.includes(mediaType)) return skip(`it is ${mediaType}, which is no manifest`);
        const stored = await from.manifest(digest, context);
        if (stored === undefined) return skip(notThere);
        count(stored);
        const manifest = parsed(stored, from);
        if (manifest === undefined) return skip(notValid);
        const whole = 'image' in manifest ? manifest.image : manifest.index;
        const referred = whole['subject'] as { readonly digest?: unknown } | null | undefined;
        if (referred?.digest !== subject) return skip('it refers to something else');
        const image = 'image' in manifest ? manifest.image : undefined;
        attachments.push({
          subject,
          digest,
          from,
          ...classifyReferrer(image, entry),
          by: 'referrer',
          artifactType: image?.artifactType ?? image?.config.mediaType ?? entry.artifactType ?? '',
          annotations: whole.annotations ?? {},
        });
        return [{ digest, from, stored }];
      },
    );
    return found.flat();
  };

  let level: readonly Task[] = [{ digest: image.digest, from: image.source }];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth) throw tooLarge(`it goes deeper than ${maxDepth} levels`);
    const fresh = level.filter(({ digest }) => !started.has(digest) && started.add(digest));
    if (started.size > maxManifests) throw tooLarge(`it has more than ${maxManifests} manifests`);
    level = (await mapParallel(fresh, expand)).flat();
  }
  return { root: image.digest, nodes, attachments: sorted(attachments), ignored };
};

/** The image and everything below it, whatever else it is: a manifest that an index lists may refer to another of its manifests. */
export const manifestsOf = ({ root, nodes }: Graph): ReadonlySet<Digest> => {
  const found = new Set([root]);
  for (const digest of found) for (const child of nodes.get(digest)?.children ?? []) found.add(child);
  return found;
};

/** `lenient`: what it lists by a digest that cannot be checked is left out. */
const readNode = (stored: StoredManifest, from: Source, lenient: boolean): Node => {
  const known = ({ digest }: ManifestDescriptor): boolean => !lenient || isDigest(digest);
  const manifest = parseManifest(stored, from);
  if ('index' in manifest) {
    const entries = (manifest.index.manifests ?? []).filter(known);
    const isManifest = ({ mediaType }: ManifestDescriptor): boolean => manifestTypes.includes(mediaType);
    return {
      stored,
      from,
      layers: [],
      children: [...new Set(entries.filter(isManifest).map((entry) => asBlob(entry).digest))],
      blobs: entries.filter((entry) => !isManifest(entry)).map(asBlob),
    };
  }
  const { config, layers } = manifest.image;
  return {
    stored,
    from,
    children: [],
    layers: layers ?? [],
    blobs: [config, ...(layers ?? [])].filter(isHere).filter(known).map(asBlob),
  };
};

const onePerDigest = (entries: readonly ManifestDescriptor[]): readonly ManifestDescriptor[] => [
  ...new Map(entries.map((entry) => [entry.digest, entry])).values(),
];

/** Layers that lie elsewhere, by their URLs, are not for registries to pass on (OCI image-spec "Non-Distributable Layers"). */
const isHere = ({ mediaType, ...layer }: ManifestDescriptor): boolean =>
  !(/nondistributable|\.foreign\./.test(mediaType) && Array.isArray(layer['urls']));

const asBlob = ({ mediaType, digest, size }: ManifestDescriptor): BlobDescriptor => {
  if (isDigest(digest)) return { mediaType, digest, size };
  throw new CountersignError(
    'failed_precondition',
    'DIGEST_UNSUPPORTED',
    `A manifest lists ${digest.slice(0, 100)}; only SHA-256 digests can be checked.`,
  );
};

const order: Readonly<Record<Kind, number>> = { signature: 0, attestation: 1, sbom: 2, other: 3 };

/** The same order whatever came first over the network. */
const sorted = (attachments: readonly Attachment[]): readonly Attachment[] => {
  const keyOf = ({ kind, by, digest, subject, from }: Attachment): string =>
    [order[kind], by === 'tag' ? 0 : 1, digest, subject, from.name].join(' ');
  return attachments
    .map((one) => ({ one, key: keyOf(one) }))
    .toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ one }) => one);
};

export const tooLarge = (what: string): CountersignError =>
  new CountersignError('failed_precondition', 'IMAGE_TOO_LARGE', `The image cannot be gathered: ${what}.`);

export const absent = (source: Source, digest: Digest): CountersignError =>
  new CountersignError('not_found', 'MANIFEST_NOT_FOUND', `${source.name} has no manifest ${digest}.`);
