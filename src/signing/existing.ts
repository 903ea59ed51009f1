import { formatOf, formats as allFormats } from '../formats/formats.ts';
import type { SignatureFormat } from '../formats/port.ts';
import type { Context } from '../model/context.ts';
import { sha256 } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { StoredSignature } from '../model/result.ts';
import type { Attached, FormatName, KeyVersion, Signable } from '../model/signature.ts';
import { marks } from '../model/signature.ts';
import type { ResolvedImage } from '../model/subject.ts';
import type { Registry } from '../registry/port.ts';
import { attachedCandidate } from '../verification/question.ts';
import { verifyCandidate } from '../verification/verify.ts';
import { comparable, comparableOf, contentMark } from './identity.ts';

/** The layout that each format is stored in. */
export const layoutOf: Readonly<Record<FormatName, 'tag' | 'referrer'>> = {
  'simple-signing': 'tag',
  dsse: 'tag',
  bundle: 'referrer',
};

export type LookForExisting = {
  readonly image: ResolvedImage;
  /** What is to be signed, without the record of who asked. */
  readonly plain: Signable;
  readonly formats: readonly FormatName[];
  readonly key: KeyVersion;
  /** Any equal one, or only those that the same request has made? */
  readonly ifAbsent: boolean;
  /** The mark of this request, where the caller chose its id. */
  readonly request: string | undefined;
  /** Are other layouts to be looked at? */
  readonly others: boolean;
  readonly repository: string | undefined;
};

/** What lies beside the image already. */
export type Existing = {
  /** Equal signatures that verify, by their format. */
  readonly equal: ReadonlyMap<FormatName, StoredSignature>;
  /** The layouts that hold signatures. */
  readonly layouts: ReadonlySet<'tag' | 'referrer'>;
  /** The mark `content` of each format. */
  readonly contentMarks: ReadonlyMap<FormatName, string>;
};

/**
 * Looks for equal signatures before another is made: same key version, same content, and it verifies. Marks, which nobody signed,
 * only say where to look: content and signature are compared whole. Throws as `Registry.present`.
 */
export const lookForExisting = async (
  asked: LookForExisting,
  registry: Pick<Registry, 'present'>,
  context: Context,
): Promise<Existing> => {
  const { image, plain, key, ifAbsent, request } = asked;
  const wanted = asked.formats.map((name) => {
    const format = allFormats[name];
    const content = comparableOf(plain, format, key);
    return { name, format, content, mark: contentMark(content, format, key) };
  });
  const seeks = ifAbsent || request !== undefined;
  const present = await registry.present(
    image,
    {
      suffix: plain.kind === 'statement' ? 'att' : 'sig',
      layouts: new Set(seeks ? asked.formats.map((name) => layoutOf[name]) : []),
      content: new Set(ifAbsent ? wanted.map(({ mark }) => mark) : []),
      request,
      layers: new Set(ifAbsent ? wanted.flatMap(({ format }) => payloadDigest(plain, format)) : []),
      unmarked: ifAbsent,
      others: asked.others,
    },
    asked.repository,
    context,
  );
  const equal = new Map<FormatName, StoredSignature>();
  for (const candidate of present.candidates) {
    for (const { name, format, content } of wanted) {
      const found = equal.has(name) ? undefined : equalSignature(candidate, format, content, asked);
      if (found !== undefined) equal.set(name, found);
    }
  }
  const contentMarks = new Map(wanted.map(({ name, mark }) => [name, mark]));
  return { equal, layouts: present.layouts, contentMarks };
};

/** Without a record the payload of simple signing is always the same, so that its digest names it. */
const payloadDigest = (plain: Signable, format: SignatureFormat) => {
  if (format.name !== 'simple-signing') return [];
  const { kind, ...toSign } = format.message(plain, new Date(0));
  return kind === 'message' && 'message' in toSign ? [sha256(toSign.message)] : [];
};

const equalSignature = (
  candidate: Attached,
  format: SignatureFormat,
  content: string,
  { image, plain, key, ifAbsent, request }: LookForExisting,
): StoredSignature | undefined => {
  if (formatOf(candidate.mediaType) !== format) return undefined;
  if (!ifAbsent && candidate.annotations[marks.request] !== request) return undefined;
  try {
    if (comparable(format, candidate.content, candidate.annotations) !== content) return undefined;
  } catch (caught) {
    if (caught instanceof CountersignError && caught.code === 'invalid_argument') return undefined;
    throw caught;
  }
  const verdict = verifyCandidate(
    {
      subject: { kind: 'image', digest: image.descriptor.digest },
      keys: [{ ...key, name: key.key }],
      expect:
        plain.kind === 'statement'
          ? { kind: 'attestation', predicateType: plain.predicateType }
          : { kind: 'signature' },
      annotations: {},
    },
    attachedCandidate(candidate),
  );
  if (!verdict.counts) return undefined;
  const { mediaType, storedAt, annotations } = candidate;
  const { signature } = format.open(candidate.content, annotations);
  const attachment =
    storedAt.by === 'tag'
      ? ({ by: 'tag', suffix: plain.kind === 'statement' ? 'att' : 'sig', annotations } as const)
      : ({ by: 'referrer', artifactType: mediaType, annotations } as const);
  return {
    sealed: { format: format.name, mediaType, content: candidate.content, signature, attachment },
    stored: storedAt,
    existing: true,
  };
};
