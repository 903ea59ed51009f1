import type { Digest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { checked } from '../registry/blob-stream.ts';
import { asStored, encodeJson, type StoredManifest } from '../registry/manifest.ts';
import { ociIndex } from '../registry/media-types.ts';
import { signatureLayers } from '../registry/signature-layers.ts';
import type { Attachment } from './gather.ts';
import { tagExists } from './repository-sink.ts';
import { layoutFiles } from './layout-files.ts';
import {
  kindAnnotation,
  kindPrefix,
  type LayoutEntry,
  listsOtherImages,
  readEntries,
  refAnnotation,
} from './layout-source.ts';
import type { Outcome, Sink } from './sink.ts';
import { isIndex } from './source.ts';

const ociLayout = { imageLayoutVersion: '1.0.0' };

/**
 * An OCI layout to write to, as `cosign save` makes it: index.json marks the image and its `.sig` and `.att` (`kind`), and blobs that refer to
 * the image are found by being there. Beyond that everything is listed as other OCI tools look for it: by tag (`ref.name`), referrers by digest.
 * Readers take one manifest a tag, so signatures of several repositories are merged into it, as in a registry.
 * `finish` writes index.json, last. Throws `already_exists`, reason `LAYOUT_TAKEN`, for a folder with something else in it.
 */
export const openLayoutSink = async (
  folder: string,
  root: Digest,
  force: boolean,
): Promise<Sink & { finish(): Promise<void> }> => {
  const files = layoutFiles(folder);
  const there = await readEntries(files);
  if (there !== undefined && !force && (await listsOtherImages(files, there, root))) {
    throw new CountersignError(
      'already_exists',
      'LAYOUT_TAKEN',
      `${folder} holds another image; choose another folder, or use --force to list only this one.`,
    );
  }
  const entries = new Map<string, LayoutEntry>();
  const atTag = new Map<string, Promise<StoredManifest>>();
  const layout = signatureLayers({ docker: false });

  const list = (
    key: string,
    { mediaType, digest, body }: StoredManifest,
    annotations: Record<string, string>,
    more = {},
  ) => {
    const marks = Object.keys(annotations).length === 0 ? {} : { annotations };
    entries.set(key, { mediaType, size: body.byteLength, digest, ...more, ...marks });
  };
  const write = async ({ digest, body }: StoredManifest): Promise<'present' | 'copied'> => {
    if (await files.hasBlob({ digest, size: body.byteLength })) return 'present';
    await files.writeBlob(digest, [body]);
    return 'copied';
  };

  /** What the tag holds with this manifest besides what it holds already: `replace` as in `attach`. */
  const joined = async (
    { tag, suffix }: Attachment & { readonly by: 'tag' },
    current: StoredManifest | undefined,
    stored: StoredManifest,
    replace: boolean,
  ): Promise<StoredManifest> => {
    if (current === undefined || current.digest === stored.digest) return stored;
    const here = { registry: 'layout', repository: folder };
    if (suffix === 'sbom') {
      if (!replace) throw tagExists(folder, tag, current.digest);
      return stored;
    }
    const held = layout.list(current, here);
    const added = layout.list(stored, here).filter((layer) => !held.some((one) => layout.same(one, layer)));
    if (added.length === 0) return current;
    const { blobs, ...next } = layout.build(current, added, here);
    for (const { digest, pieces } of blobs) await files.writeBlob(digest, pieces);
    return asStored(next, undefined);
  };

  const attachTag = async (
    attachment: Attachment & { readonly by: 'tag' },
    stored: StoredManifest,
    replace: boolean,
  ): Promise<Outcome> => {
    const { tag } = attachment;
    const before = atTag.get(tag);
    const next = (async () => joined(attachment, await before, stored, replace))();
    atTag.set(tag, next);
    const manifest = await next;
    const outcome = await write(manifest);
    list(tag, manifest, { ...kindOf(attachment), [refAnnotation]: tag });
    return outcome === 'copied' && manifest.digest !== stored.digest ? 'merged' : outcome;
  };

  const kindOf = (attachment: Attachment & { readonly by: 'tag' }): Record<string, string> => {
    const kind =
      attachment.subject !== root
        ? ''
        : attachment.suffix === 'sig'
          ? 'sigs'
          : attachment.suffix === 'att'
            ? 'atts'
            : '';
    return kind === '' ? {} : { [kindAnnotation]: `${kindPrefix}${kind}` };
  };

  return {
    name: folder,
    has: async () => false,
    blob: async (blob, from, context) => {
      if (await files.hasBlob(blob)) return 'present';
      const fault = (what: string) => new CountersignError('data_loss', 'DIGEST_MISMATCH', `${from.name}: ${what}.`);
      await files.writeBlob(blob.digest, checked(blob, from.blob(blob, context), fault));
      return 'copied';
    },
    manifest: write,
    tagged: async () => undefined,
    tag: async (tag, stored) => {
      const kind = isIndex(stored.mediaType) ? 'imageIndex' : 'image';
      const ref = tag === '' ? {} : { [refAnnotation]: tag };
      list('', stored, { [kindAnnotation]: `${kindPrefix}${kind}`, ...ref });
    },
    attach: async (attachment, { stored }, replace) => {
      if (attachment.by === 'tag') return attachTag(attachment, stored, replace);
      const { digest, artifactType } = attachment;
      const outcome = await write(stored);
      list(digest, stored, {}, artifactType === '' ? {} : { artifactType });
      return outcome;
    },
    finish: async () => {
      const kind = (entry: LayoutEntry): number => {
        const at = ['image', 'imageIndex', 'sigs', 'atts'].indexOf(
          entry.annotations?.[kindAnnotation]?.slice(kindPrefix.length) ?? '',
        );
        return at < 0 ? 9 : at;
      };
      const manifests = [...entries.values()].toSorted((a, b) => kind(a) - kind(b));
      await files.write('oci-layout', encodeJson(ociLayout));
      await files.write('index.json', encodeJson({ schemaVersion: 2, mediaType: ociIndex, manifests }));
    },
  };
};
