import type { SignCommand, Storage } from '../model/command.ts';
import type { Context } from '../model/context.ts';
import { type Digest, sha256 } from '../model/digest.ts';
import type { Question } from '../model/decision.ts';
import type { FormatName } from '../model/signature.ts';
import { type ImageReference, type ResolvedImage, repositoryName, type Subject } from '../model/subject.ts';
import type { Registry } from '../registry/port.ts';
import { parseReference } from '../registry/reference.ts';

/** A subject whose form has been checked, before any network call: what policy decides on. */
export type Target =
  | { readonly kind: 'image'; readonly name: string; readonly reference: ImageReference }
  | { readonly kind: 'blob'; readonly name: string; readonly digest: Digest; readonly content: Uint8Array | undefined };

/** Subject -> Target. Throws `invalid_argument` for a malformed image reference. */
export const targetOf = (subject: Subject): Target => {
  switch (subject.kind) {
    case 'image': {
      const reference = parseReference(subject.reference, 'subject.image');
      return { kind: 'image', name: repositoryName(reference), reference };
    }
    case 'blob-digest':
      return { kind: 'blob', name: subject.name, digest: subject.digest, content: undefined };
    case 'blob':
      return { kind: 'blob', name: subject.name, digest: sha256(subject.content), content: subject.content };
  }
};

/** How policy sees a target. */
export const questionSubject = (target: Target): NonNullable<Question['subject']> =>
  target.kind === 'image'
    ? { kind: 'repository', name: target.name }
    : { kind: 'blob', name: target.name, unseen: target.content === undefined };

/** The other repository that signatures go to, if the caller named one. */
export const storageRepository = (storage: Storage): string | undefined =>
  storage.kind === 'attach' ? storage.repository : undefined;

/** The formats asked for, or those that are configured for the image; a bundle for a blob. */
export const formatsFor = (
  { formats, storage }: Pick<SignCommand, 'formats' | 'storage'>,
  verb: 'sign' | 'attest',
  target: Target,
  registry: Pick<Registry, 'layouts'>,
): readonly FormatName[] => {
  if (formats.length > 0) return formats;
  if (target.kind === 'blob') return ['bundle'];
  const { layouts } = registry.layouts(target.reference, storageRepository(storage));
  const tag = verb === 'attest' ? 'dsse' : 'simple-signing';
  return layouts.map((layout) => (layout === 'tag' ? tag : 'bundle'));
};

/** A target whose digest is known; an image is resolved here, once. */
export type ResolvedTarget = { readonly digest: Digest; readonly image: ResolvedImage | undefined };

/** Target -> ResolvedTarget; a blob asks nobody. Throws as `Registry.resolve`. */
export const resolveTarget = async (target: Target, registry: Registry, context: Context): Promise<ResolvedTarget> => {
  if (target.kind === 'blob') return { digest: target.digest, image: undefined };
  const image = await registry.resolve(target.reference, context);
  return { digest: image.descriptor.digest, image };
};
