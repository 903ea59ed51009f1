import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import type { BlobDescriptor } from '../registry/blob-stream.ts';
import type { StoredManifest } from '../registry/manifest.ts';
import type { Attachment, Node } from './gather.ts';
import type { Source } from './source.ts';

/** What became of one thing: `merged`: added to what was there already. */
export type Outcome = 'present' | 'mounted' | 'copied' | 'merged';

/** A place that content is written to. Everything is idempotent: what is there is left, and said to be. */
export interface Sink {
  /** `host/path`, or the folder. */
  readonly name: string;
  /** Is this manifest there, with all that it needs? */
  has(digest: Digest, context: Context): Promise<boolean>;
  blob(blob: BlobDescriptor, from: Source, context: Context): Promise<Outcome>;
  /** Its blobs and children must be there. */
  manifest(stored: StoredManifest, context: Context): Promise<Outcome>;
  /** The digest at a tag. */
  tagged(tag: string, context: Context): Promise<Digest | undefined>;
  /** Writes the tag of the image. */
  tag(tag: string, stored: StoredManifest, context: Context): Promise<void>;
  /**
   * Makes what is attached findable: its tag, or its listing as a referrer. Signatures that lie there stay. `replace`: an SBOM that is another is
   * overwritten; else `already_exists`, reason `TAG_EXISTS`.
   */
  attach(attachment: Attachment, node: Node, replace: boolean, context: Context): Promise<Outcome>;
}
