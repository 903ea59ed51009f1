import type { Digest } from '../model/digest.ts';
import { nodeOf } from './copy.ts';
import type { Attachment, Graph } from './gather.ts';
import type { Format, Kind } from './kinds.ts';

/** An image, or a manifest below it or attached to it, with what hangs on it. */
export type TreeNode = {
  readonly digest: Digest;
  readonly mediaType: string;
  /** bytes of the manifest */
  readonly size: number;
  /** The manifests that an index lists. */
  readonly manifests: readonly TreeNode[];
  readonly attached: readonly TreeAttachment[];
};

export type TreeAttachment = {
  readonly kind: Kind;
  readonly format: Format;
  readonly layout: 'tag' | 'referrer';
  readonly repository: string;
  readonly tag?: string;
  readonly artifactType?: string;
  readonly predicateType?: string;
  /** Signatures, envelopes, bundles or other content: the layers. */
  readonly contents: readonly TreeContent[];
  readonly manifest: TreeNode;
};

export type TreeContent = {
  readonly digest: string;
  readonly mediaType: string;
  readonly size: number;
  readonly predicateType?: string;
};

/**
 * The tree of what was gathered. What is known of predicates is what annotations say. A manifest is unfolded once, where it is nearest to the
 * image, so that nothing goes deeper than it was gathered.
 */
export const treeOf = (graph: Graph): TreeNode => {
  const attachedTo = Map.groupBy(graph.attachments, ({ subject }) => subject);
  const childrenOf = (digest: Digest) => nodeOf(graph, digest).children.filter((child) => graph.nodes.has(child));
  /** By manifest: the one that it is unfolded below. */
  const above = new Map<Digest, Digest | undefined>([[graph.root, undefined]]);
  for (const [digest] of above) {
    const below = [...childrenOf(digest), ...(attachedTo.get(digest) ?? []).map((one) => one.digest)];
    for (const one of below) if (!above.has(one)) above.set(one, digest);
  }
  const shown = new Set<Digest>();

  const nodeAt = (digest: Digest, from: Digest | undefined): TreeNode => {
    const { mediaType, body } = nodeOf(graph, digest).stored;
    const own = { digest, mediaType, size: body.byteLength };
    if (shown.has(digest) || above.get(digest) !== from) return { ...own, manifests: [], attached: [] };
    shown.add(digest);
    return {
      ...own,
      manifests: childrenOf(digest).map((child) => nodeAt(child, digest)),
      attached: (attachedTo.get(digest) ?? []).map(attachedAt),
    };
  };

  const attachedAt = (attachment: Attachment): TreeAttachment => {
    const { kind, format, by, from, digest, predicateType } = attachment;
    return {
      kind,
      format,
      layout: by,
      repository: from.name,
      ...(by === 'tag' ? { tag: attachment.tag } : { artifactType: attachment.artifactType }),
      ...(predicateType === undefined ? {} : { predicateType }),
      contents: nodeOf(graph, digest).layers.map((layer) => {
        const type = layer.annotations?.['predicateType'];
        const { mediaType, size } = layer;
        return { digest: layer.digest, mediaType, size, ...(type === undefined ? {} : { predicateType: type }) };
      }),
      manifest: nodeAt(digest, attachment.subject),
    };
  };

  return nodeAt(graph.root, undefined);
};
