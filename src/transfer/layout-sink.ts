import type { Digest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { checked } from '../registry/blob-stream.ts';
import { encodeJson, type StoredManifest } from '../registry/manifest.ts';
import type { Attachment } from './gather.ts';
import { layoutFiles } from './layout-files.ts';
import { kindAnnotation, kindPrefix, type LayoutEntry, readEntries, refAnnotation } from './layout-source.ts';
import type { Sink } from './sink.ts';
import { isIndex } from './source.ts';

const ociLayout = { imageLayoutVersion: '1.0.0' };

/**
 * An OCI layout to write to, as `cosign save` makes it: index.json marks the image and its `.sig` and `.att` (`kind`), and blobs that refer to
 * the image are found by being there. Beyond that everything is listed as other OCI tools look for it: by tag (`ref.name`), referrers by digest.
 * `finish` writes index.json, last. Throws `already_exists`, reason `LAYOUT_TAKEN`, for a folder with something else in it.
 */
export const openLayoutSink = async (
  folder: string,
  root: Digest,
  force: boolean,
): Promise<Sink & { finish(): Promise<void> }> => {
  const files = layoutFiles(folder);
  const there = await readEntries(files);
  const other = there?.some(({ digest }) => digest === root) === false && there.length > 0;
  if (other && !force) {
    throw new CountersignError(
      'already_exists',
      'LAYOUT_TAKEN',
      `${folder} holds another image; choose another folder, or use --force to list only this one.`,
    );
  }
  const entries = new Map<string, LayoutEntry>();

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
    attach: async (attachment, { stored }) => {
      const outcome = await write(stored);
      if (attachment.by === 'tag')
        list(attachment.tag, stored, { ...kindOf(attachment), [refAnnotation]: attachment.tag });
      else
        list(
          attachment.digest,
          stored,
          {},
          attachment.artifactType === '' ? {} : { artifactType: attachment.artifactType },
        );
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
      const mediaType = 'application/vnd.oci.image.index.v1+json';
      await files.write('index.json', encodeJson({ schemaVersion: 2, mediaType, manifests }));
    },
  };
};
