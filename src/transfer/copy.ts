import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { BlobDescriptor } from '../registry/blob-stream.ts';
import { mapParallel } from '../registry/places.ts';
import type { Attachment, Graph, Ignored, Node } from './gather.ts';
import type { Kind } from './kinds.ts';
import type { Outcome, Sink } from './sink.ts';

export type CopyOptions = {
  /** Where the image goes, and where what is attached to it. */
  readonly image: Sink;
  readonly attached: Sink;
  /** The image's tag there; without it by digest alone. */
  readonly tag: string | undefined;
  /** Only what is attached, of these kinds. Default: everything, and the image. */
  readonly only?: readonly Kind[] | undefined;
  /** May the tag, or another SBOM, be overwritten? */
  readonly force: boolean;
  /** Told now and then. */
  readonly progress?: (done: Progress) => void;
};

export type Progress = { readonly blobs: number; readonly ofBlobs: number; readonly bytes: number };

/** One manifest: what it is in the image, and what became of it. */
export type Moved = {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
  readonly role: 'image' | Kind;
  readonly outcome: Outcome;
  /** Of what is attached. */
  readonly subject?: Digest;
  readonly tag?: string;
};

export type CopyReport = {
  readonly digest: Digest;
  readonly manifests: readonly Moved[];
  readonly blobs: Readonly<Record<'copied' | 'mounted' | 'present', number>>;
  /** Bytes of blobs that were copied. */
  readonly bytes: number;
  readonly ignored: readonly Ignored[];
};

/**
 * Copies an image with everything attached to it: blobs, manifests from below, attachments, and the image's tag last, so that nobody
 * sees it there unsigned. What is there is not sent again. Throws `already_exists`, reason `TAG_EXISTS`, before anything is written when the
 * tag leads to another image.
 */
export const copy = async (graph: Graph, options: CopyOptions, context: Context): Promise<CopyReport> => {
  const { image, attached, only, force } = options;
  const attachments = graph.attachments.filter(({ kind }) => only === undefined || only.includes(kind));
  await assertFree(graph, options, context);

  const imageNodes = only === undefined ? below(graph, [graph.root]) : [];
  const attachedNodes = below(
    graph,
    attachments.map(({ digest }) => digest),
  ).filter((node) => !imageNodes.includes(node));
  const placed = [
    ...imageNodes.map((node) => ({ node, sink: image })),
    ...attachedNodes.map((node) => ({ node, sink: attached })),
  ];

  const missing = (
    await mapParallel(placed, async (one) => ((await one.sink.has(one.node.stored.digest, context)) ? [] : [one]))
  ).flat();
  const blobs = await copyBlobs(missing, options, context);

  // Children first: a registry refuses an index whose manifests it does not have. What is attached comes later, with its listing.
  const listed = new Set(placed.flatMap(({ node }) => node.children));
  const later = new Set(attachments.map(({ digest }) => digest).filter((digest) => !listed.has(digest)));
  const outcomes = new Map<Digest, Outcome>();
  for (const { node, sink } of missing) {
    const { digest } = node.stored;
    if (digest === graph.root || !later.has(digest)) outcomes.set(digest, await sink.manifest(node.stored, context));
  }
  const moved: Moved[] = imageNodes.map(({ stored }) => ({
    ...named(stored),
    role: 'image',
    outcome: outcomes.get(stored.digest) ?? 'present',
  }));
  moved.push(
    ...(await mapParallel(attachments, async (attachment): Promise<Moved> => {
      const node = nodeOf(graph, attachment.digest);
      const outcome = await attached.attach(attachment, node, force, context);
      const tag = attachment.by === 'tag' ? { tag: attachment.tag } : {};
      return { ...named(node.stored), role: attachment.kind, outcome, subject: attachment.subject, ...tag };
    })),
  );
  if (options.tag !== undefined && only === undefined) {
    const { stored } = nodeOf(graph, graph.root);
    if ((await image.tagged(options.tag, context)) !== graph.root) await image.tag(options.tag, stored, context);
  }
  return { digest: graph.root, manifests: moved, ...blobs, ignored: graph.ignored };
};

const named = ({ digest, mediaType, body }: Node['stored']) => ({ digest, mediaType, size: body.byteLength });

const assertFree = async (graph: Graph, { image, tag, only, force }: CopyOptions, context: Context): Promise<void> => {
  if (tag === undefined || only !== undefined || force) return;
  const there = await image.tagged(tag, context);
  if (there === undefined || there === graph.root) return;
  throw new CountersignError(
    'already_exists',
    'TAG_EXISTS',
    `${image.name}:${tag} is there already and is another image (${there}); use --force to overwrite it.`,
    { metadata: { tag, digest: there } },
  );
};

type Placed = { readonly node: Node; readonly sink: Sink };

const copyBlobs = async (missing: readonly Placed[], { progress }: CopyOptions, context: Context) => {
  const wanted = new Map<string, Placed & { readonly blob: BlobDescriptor }>();
  for (const placed of missing) {
    for (const blob of placed.node.blobs) wanted.set(`${placed.sink.name}@${blob.digest}`, { ...placed, blob });
  }
  const blobs = { copied: 0, mounted: 0, present: 0 };
  let bytes = 0;
  let done = 0;
  await mapParallel([...wanted.values()], async ({ node, sink, blob }) => {
    const outcome = await sink.blob(blob, node.from, context);
    blobs[outcome === 'merged' ? 'copied' : outcome]++;
    if (outcome === 'copied') bytes += blob.size;
    progress?.({ blobs: ++done, ofBlobs: wanted.size, bytes });
  });
  return { blobs, bytes };
};

export const nodeOf = (graph: Graph, digest: Digest): Node => {
  const node = graph.nodes.get(digest);
  if (node === undefined) throw new TypeError(`${digest} was not gathered`);
  return node;
};

/** These manifests and all below them, each once, children before those that list them. Not by recursion: a chain may be as long as the image is large. */
const below = (graph: Graph, digests: readonly Digest[]): readonly Node[] => {
  const entered = new Set<Digest>();
  const all = new Set<Node>();
  const stack = digests.toReversed();
  for (let digest = stack.at(-1); digest !== undefined; digest = stack.at(-1)) {
    const node = nodeOf(graph, digest);
    if (entered.has(digest)) {
      stack.pop();
      all.add(node);
    } else {
      entered.add(digest);
      stack.push(...node.children.filter((child) => !entered.has(child)).toReversed());
    }
  }
  return [...all];
};

/** What one attachment is called where it is listed. */
export const attachmentName = (attachment: Attachment): string =>
  attachment.by === 'tag' ? attachment.tag : attachment.digest;
