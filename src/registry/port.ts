import type { Context } from '../model/context.ts';
import type { Attached, Sealed, StoredAt } from '../model/signature.ts';
import type { ImageReference, ResolvedImage } from '../model/subject.ts';
import type { Layouts } from './destination.ts';
import type { Nested } from './nested.ts';
import type { Present, Sought } from './present.ts';

/**
 * What the use cases need of OCI registries (distribution-spec 1.1). Safe to call concurrently.
 *
 * Errors: `invalid_argument` (a bad reference), `not_found` (no such image), `failed_precondition` with reason
 * `REGISTRY_ACCESS_DENIED` (401 and 403 after the auth challenge was answered), `resource_exhausted` (429, with
 * Retry-After as the delay), `unavailable` (5xx, reset, refused), `data_loss` (bytes do not match their digest).
 */
export interface Registry {
  /** Resolves a reference to a digest, once. A reference by digest is looked up as well: its size and type are needed. */
  resolve(reference: ImageReference, context: Context): Promise<ResolvedImage>;
  /**
   * Attaches one sealed signature to an image, in `repository` (`host/path`; when undefined the one that is configured for the
   * image, else its own). Adds to what is there, never replaces it; where an update can be lost (tags) it answers when the
   * signature is certain to stay, as `createTagUpdater` says. An error that leaves something behind names it in its metadata,
   * `stored`: `host/path@digest`.
   */
  attach(image: ResolvedImage, sealed: Sealed, repository: string | undefined, context: Context): Promise<StoredAt>;
  /**
   * Everything attached to an image, in `repository` as with `attach`, that may be a signature: layers at `.sig` and `.att`, and
   * among its referrers (API, or else fallback tag) Sigstore bundles and the layers of cosign's legacy signatures in mode
   * `oci-1-1`. Bounded: 1,000 layers a manifest, 1,000 referrers, 16 MiB each, 64 MiB together; more is `failed_precondition`.
   */
  attachments(image: ResolvedImage, repository: string | undefined, context: Context): Promise<readonly Attached[]>;
  /** What an equal signature may be among, and which layouts the image carries, before it is signed; `repository` as above. */
  present(image: ResolvedImage, sought: Sought, repository: string | undefined, context: Context): Promise<Present>;
  /**
   * The manifests below an index, depth first, each digest once; none when it is no index. Throws `failed_precondition`, reason
   * `INDEX_TOO_LARGE`, beyond 4 levels or 1,000 manifests, and `not_found`, reason `MANIFEST_NOT_FOUND`, for an index that is not there.
   */
  nested(image: ResolvedImage, context: Context): Promise<readonly Nested[]>;
  /** How signatures of an image are kept; asks nobody. Throws `invalid_argument` for a bad `repository`. */
  layouts(image: Pick<ResolvedImage, 'registry' | 'repository'>, repository: string | undefined): Layouts;
  /** Closes pooled connections. */
  close(): Promise<void>;
}
