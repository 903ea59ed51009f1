import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { type Attached, marks, type Sealed } from '../model/signature.ts';
import { repositoryName, type ResolvedImage } from '../model/subject.ts';
import { createCache } from './cache.ts';
import type { Destination } from './destination.ts';
import { createEntryIndex, type Entries, type Placed } from './growing-list.ts';
import { type Found, isSignatureLayer, mapParallel, type Places, type Referring } from './places.ts';
import { createSkim } from './skim.ts';

/** What is looked for beside an image, before it is signed. */
export type Sought = {
  /** Signatures or attestations? */
  readonly suffix: 'sig' | 'att';
  /** The layouts in which an equal one is looked for. */
  readonly layouts: ReadonlySet<'tag' | 'referrer'>;
  /** The marks of what would be equal (`marks` in `model/signature.ts`). */
  readonly content: ReadonlySet<string>;
  readonly request: string | undefined;
  /** Digests of the layers that hold equal content, whoever made them. */
  readonly layers: ReadonlySet<Digest>;
  /** Also what carries no mark, since others made it. */
  readonly unmarked: boolean;
  /** Is it to be known whether the other layouts hold anything? */
  readonly others: boolean;
};

/** What is there. */
export type Present = {
  /** Nothing verified: contents that may be equal, oldest first. */
  readonly candidates: readonly Attached[];
  /** The layouts that hold signatures (or attestations, as sought), so far as they were looked at. */
  readonly layouts: ReadonlySet<'tag' | 'referrer'>;
};

export type LookFor = {
  /** As `Registry.present` of the port. */
  present(image: ResolvedImage, sought: Sought, destination: Destination, context: Context): Promise<Present>;
  /** A signature was stored beside the image. */
  stored(image: ResolvedImage, sealed: Sealed, destination: Destination): void;
};

/** What carries no mark must be read to be compared: of that only the newest. */
const maxUnmarked = 64;
/** How long it is believed what another layout holds: it only decides whether that is written as well. */
const believedForMs = 60_000;
const signPredicateType = 'https://sigstore.dev/cosign/sign/v1';
const keyOf = (
  layout: 'tag' | 'referrer',
  suffix: 'sig' | 'att',
  { target }: Destination,
  { descriptor }: ResolvedImage,
): string => `${layout} ${suffix} ${repositoryName(target)}@${descriptor.digest}`;
const predicateTypeAnnotation = 'dev.sigstore.bundle.predicateType';

/** Reads the places of the layouts that are sought, in parallel; one request each, and what it takes to read candidates. */
export const createLookFor = (places: Places): LookFor => {
  const believed = createCache<boolean>(10_000);
  const skim = createSkim();

  const inTag = async (image: ResolvedImage, sought: Sought, destination: Destination, context: Context) => {
    let any = false;
    const choose = (all: Entries): Entries => {
      any = all.some(isSignatureLayer);
      return equalOrUnmarked(all, sought);
    };
    const found = await places.layers(image, sought.suffix, destination, context, choose);
    return { any, found };
  };

  const inReferrers = async (image: ResolvedImage, sought: Sought, { target }: Destination, context: Context) => {
    const wanted = [...sought.content, ...(sought.request === undefined ? [] : [sought.request])];
    const look = (page: Uint8Array, url: string) => skim(page, url, sought.suffix, wanted);
    const { referring, skimmed } = await places.referring(image, target, look, context);
    const all = referring.filter((one) => mayBe(one, sought.suffix));
    const may = newest(all, ({ entry }) => markOf(entry.annotations ?? {}, sought));
    const found = await mapParallel(may, (one) => places.signatures(image, one, target, context));
    return { any: all.length > 0 || skimmed.sought, found: found.flat() };
  };

  const present: LookFor['present'] = async (image, sought, destination, context) => {
    const look = async (layout: 'tag' | 'referrer'): Promise<{ any: boolean; found: readonly Found[] }> => {
      const key = keyOf(layout, sought.suffix, destination, image);
      const wanted = sought.layouts.has(layout);
      if (!wanted && !sought.others) return { any: false, found: [] };
      const known = wanted ? undefined : believed.get(key);
      if (known !== undefined) return { any: known, found: [] };
      const seen = await (layout === 'tag' ? inTag : inReferrers)(image, sought, destination, context);
      believed.set(key, seen.any, believedForMs);
      return wanted ? seen : { any: seen.any, found: [] };
    };
    const [tag, referrer] = await Promise.all([look('tag'), look('referrer')]);
    const layouts = new Set<'tag' | 'referrer'>();
    if (tag.any) layouts.add('tag');
    if (referrer.any) layouts.add('referrer');
    const found = [...tag.found, ...referrer.found];
    return { candidates: await places.read(found, destination.target, context), layouts };
  };

  return {
    present,
    stored: (image, { attachment }, destination) => {
      const suffix =
        attachment.by === 'tag' ? attachment.suffix : ofSuffix(attachment.annotations[predicateTypeAnnotation]);
      believed.set(keyOf(attachment.by, suffix, destination, image), true, believedForMs);
    },
  };
};

type Marked = 'marked' | 'unmarked' | 'other';

const markOf = (annotations: Readonly<Record<string, string>>, sought: Sought): Marked => {
  const content = annotations[marks.content];
  if (content === undefined) return sought.unmarked ? 'unmarked' : 'other';
  const request = annotations[marks.request];
  return sought.content.has(content) || (request !== undefined && request === sought.request) ? 'marked' : 'other';
};

/** A layer by what may make it wanted: its content, whoever made it, and its marks, or that it has none. */
const byMark = createEntryIndex((layer) => {
  if (!isSignatureLayer(layer)) return [];
  const content = layer.annotations?.[marks.content];
  const request = layer.annotations?.[marks.request];
  const ownMarks =
    content === undefined ? [unmarked] : [ofContent(content), ...(request === undefined ? [] : [ofRequest(request)])];
  return [layer.digest, ...ownMarks];
});
const unmarked = 'unmarked';
const ofContent = (content: string): string => `content ${content}`;
const ofRequest = (request: string): string => `request ${request}`;

/** As `newest` of all of them, which are not looked at one by one. */
const equalOrUnmarked = (all: Entries, { layers, content, request, unmarked: also }: Sought): Entries => {
  const keys = [...layers, ...[...content].map(ofContent), ...(request === undefined ? [] : [ofRequest(request)])];
  const marked = keys.flatMap((key) => byMark(all, key));
  const others = also ? byMark(all, unmarked).filter(({ entry }) => !layers.has(entry.digest as Digest)) : [];
  const chosen = new Map([...marked, ...others.slice(-maxUnmarked)].map((placed: Placed) => [placed.at, placed.entry]));
  return [...chosen].sort(([a], [b]) => a - b).map(([, entry]) => entry);
};

const newest = <T>(all: readonly T[], mark: (one: T) => Marked): T[] => {
  const marked = all.map((one) => ({ one, mark: mark(one) }));
  const unmarked = marked.filter((each) => each.mark === 'unmarked').slice(-maxUnmarked);
  const kept = new Set(unmarked);
  return marked.filter((each) => each.mark === 'marked' || kept.has(each)).map(({ one }) => one);
};

const ofSuffix = (predicateType: string | undefined): 'sig' | 'att' =>
  predicateType === signPredicateType ? 'sig' : 'att';

/** Where the list says what a bundle is about, the others need not be read. */
const mayBe = ({ entry }: Referring, suffix: 'sig' | 'att'): boolean => {
  const type = entry.annotations?.[predicateTypeAnnotation];
  return type === undefined || ofSuffix(type) === suffix;
};
