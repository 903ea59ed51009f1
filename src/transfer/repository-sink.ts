import type { Context } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import { repositoryName } from '../model/subject.ts';
import { fallbackTag } from '../registry/destination.ts';
import { fallbackIndex } from '../registry/fallback-index.ts';
import { mapParallel } from '../registry/places.ts';
import { signatureLayers } from '../registry/signature-layers.ts';
import { createTagUpdater } from '../registry/tag-update.ts';
import type { Target } from '../registry/target.ts';
import type { Attachment, Node } from './gather.ts';
import { listed, type Registries } from './repository.ts';
import type { Outcome, Sink } from './sink.ts';

/** A repository to write to. `settleMs`: as `createTagUpdater`. */
export const repositorySink = (registries: Registries, target: Target, settleMs: number): Sink => {
  const { transport, manifests, streams, capability, conditional } = registries;
  const ports = { manifests, blobs: registries.blobs, conditional, lease: undefined, mayRetry: transport.mayRetry };
  const layout = signatureLayers({ docker: false });
  const updateLayers = createTagUpdater(ports, layout, settleMs);
  const updateIndex = createTagUpdater(ports, fallbackIndex, settleMs);

  const manifest: Sink['manifest'] = async (stored, context) => {
    await transport.retried(target, context, () => manifests.put(target, stored.digest, stored, undefined, context));
    return 'copied';
  };

  const attachTag = async (
    attachment: Attachment & { readonly by: 'tag' },
    node: Node,
    replace: boolean,
    context: Context,
  ): Promise<Outcome> => {
    const { tag, suffix } = attachment;
    const { stored, layers } = node;
    const current = await manifests.get(target, tag, context);
    if (current?.digest === stored.digest) return 'present';
    // Readers take one SBOM, and two cannot be one.
    if (suffix === 'sbom') {
      if (current !== undefined && !replace) throw tagExists(repositoryName(target), tag, current.digest);
      const put = () => conditional.put(target, tag, stored, current, context);
      // Another was put there meanwhile: it is looked at as if it had been there.
      return (await transport.retried(target, context, put)) === 'changed'
        ? attachTag(attachment, node, replace, context)
        : 'copied';
    }
    const held = current === undefined ? [] : layout.list(current, target);
    if (current !== undefined && layers.every((layer) => held.some((one) => layout.same(one, layer)))) return 'present';
    // Byte for byte what it was, where nothing else is there; else each of its layers joins the others.
    const exact =
      current === undefined
        ? await transport.retried(target, context, () => conditional.put(target, tag, stored, undefined, context))
        : 'changed';
    if (exact === 'guarded') return 'copied';
    await mapParallel(layers, (layer) => updateLayers(target, tag, layer, context));
    return exact === 'unguarded' ? 'copied' : 'merged';
  };

  const attachReferrer = async (
    { subject, digest, artifactType, annotations }: Attachment & { readonly by: 'referrer' },
    { stored }: Node,
    context: Context,
  ): Promise<Outcome> => {
    const there = await listed(registries, target, subject, context);
    const isListed = [...(there.api ?? []), ...there.tag].some((entry) => entry.digest === digest);
    if (isListed && (await manifests.describe(target, digest, context)) !== undefined) return 'present';
    const outcome = await transport.retried(target, context, () =>
      manifests.put(target, digest, stored, undefined, context),
    );
    const acknowledged = outcome.kind === 'stored' && outcome.subject;
    if (!isListed && !(await capability.lists(target, { subject, digest, acknowledged }, context))) {
      const { mediaType, body } = stored;
      const entry = { mediaType, size: body.byteLength, digest, artifactType, annotations };
      await updateIndex(target, fallbackTag(subject), entry, context);
    }
    return 'copied';
  };

  /** What goes to one tag goes there in turn: of two SBOMs the second must see the first. */
  const atTags = new Map<string, Promise<unknown>>();
  const afterOthers = async (tag: string, work: () => Promise<Outcome>): Promise<Outcome> => {
    const before = atTags.get(tag);
    const working = (async () => {
      await before?.catch(() => undefined);
      return work();
    })();
    atTags.set(tag, working);
    return working;
  };

  return {
    name: repositoryName(target),
    has: async (digest, context) => (await manifests.describe(target, digest, context)) !== undefined,
    blob: async (blob, from, context) => {
      if (await streams.has(target, blob.digest, context)) return 'present';
      if (from.target !== undefined && from.target.registry === target.registry) {
        if (await streams.mount(target, blob.digest, from.target.repository, context)) return 'mounted';
      }
      await streams.upload(target, blob, () => from.blob(blob, context), context);
      return 'copied';
    },
    manifest,
    tagged: async (tag, context) => (await manifests.describe(target, tag, context))?.digest,
    tag: async (tag, stored, context) => {
      await transport.retried(target, context, () => manifests.put(target, tag, stored, undefined, context));
    },
    attach: (attachment, node, replace, context) =>
      attachment.by === 'tag'
        ? afterOthers(attachment.tag, () => attachTag(attachment, node, replace, context))
        : attachReferrer(attachment, node, context),
  };
};

/** `already_exists`, reason `TAG_EXISTS`. `place`: the repository or folder. */
export const tagExists = (place: string, tag: string, digest: string): CountersignError =>
  new CountersignError(
    'already_exists',
    'TAG_EXISTS',
    `${place}:${tag} is there already and is something else (${digest}); use --force to overwrite it.`,
    { metadata: { tag, digest } },
  );
