import type { Storage } from '../model/command.ts';
import type { Context } from '../model/context.ts';
import type { Question } from '../model/decision.ts';
import type { StoredSignature } from '../model/result.ts';
import type { FormatName, KeyVersion, Signable } from '../model/signature.ts';
import type { ResolvedImage } from '../model/subject.ts';
import { layoutOf, lookForExisting } from './existing.ts';
import type { SigningPorts } from './ports.ts';

/** What is made, and what is there already. */
export type Plan = {
  /** In the order of the answer: the formats asked for, then those of layouts that the image carries besides. */
  readonly items: readonly {
    readonly format: FormatName;
    readonly existing: StoredSignature | undefined;
    /** The mark of its content, where it will be stored. */
    readonly mark: string | undefined;
  }[];
  readonly notices: readonly string[];
};

export type PlanRequest = {
  readonly question: Question;
  readonly key: KeyVersion;
  /** Undefined where nothing is stored beside an image. */
  readonly image: ResolvedImage | undefined;
  readonly plain: () => Signable;
  readonly ifAbsent: boolean;
  readonly request: string | undefined;
  readonly storage: Storage;
};

/**
 * Looks beside the image: an equal signature is not made again, and a layout that the image carries is written as well, if policy
 * allows its format; a notice says so when it does not. Throws as `Registry.present`.
 */
export const planFormats = async (asked: PlanRequest, ports: SigningPorts, context: Context): Promise<Plan> => {
  const { question, image, plain, key, ifAbsent, request, storage } = asked;
  const nothing = { existing: undefined, mark: undefined };
  if (image === undefined || storage.kind === 'return') {
    return { items: question.formats.map((format) => ({ format, ...nothing })), notices: [] };
  }
  const { repository } = storage;
  const { otherLayout } = ports.registry.layouts(image, repository);
  const other = counterpart(question);
  // Whether the other layout is wanted shows only when it has been looked at; its equal signature is looked for at once.
  const formats = other !== undefined && otherLayout === 'written' ? [...question.formats, other] : question.formats;
  const wanted = { image, plain: plain(), formats: question.formats, key, ifAbsent, request, repository };
  const others = formats.length > question.formats.length;
  const there = await lookForExisting({ ...wanted, others }, ports.registry, context);
  const items = question.formats.map((format) => itemOf(format, there));
  if (other === undefined || !others || !there.layouts.has(layoutOf[other])) return { items, notices: [] };
  if (!ports.decide({ ...question, formats }).allowed) {
    return { items, notices: [unseen(other)] };
  }
  const beside = await lookForExisting({ ...wanted, formats: [other], others: false }, ports.registry, context);
  return { items: [...items, itemOf(other, beside)], notices: [] };
};

const itemOf = (format: FormatName, there: Awaited<ReturnType<typeof lookForExisting>>) => ({
  format,
  existing: there.equal.get(format),
  mark: there.contentMarks.get(format),
});

/** The format of the layout that is not asked for. */
const counterpart = ({ formats, verb }: Question): FormatName | undefined => {
  const tag = verb === 'attest' ? 'dsse' : 'simple-signing';
  const missing = (['bundle', tag] as const).filter((format) => !formats.includes(format));
  return missing.length === 1 ? missing[0] : undefined;
};

const unseen = (other: FormatName): string =>
  `The image carries signatures in the layout of format ${other} as well, which policy does not allow here: who reads only that layout will not see this one.`;
