import {
  Format,
  type Storage as StorageMessage,
  Storage_Mode,
  type Subject as SubjectMessage,
} from '../gen/countersign/v1/types_pb.ts';
import type { Storage } from '../model/command.ts';
import { isDigest } from '../model/digest.ts';
import { CountersignError, type FieldViolation } from '../model/error.ts';
import { type FormatName, reservedAnnotationPrefix } from '../model/signature.ts';
import { repositoryName, type Subject } from '../model/subject.ts';
import { parseReference, parseRepository } from '../registry/reference.ts';

/** Runs a parser of another room for its violations alone; they join those that were found already. */
export const collect = (violations: FieldViolation[], parse: () => unknown): void => {
  try {
    parse();
  } catch (caught) {
    if (!(caught instanceof CountersignError) || caught.violations.length === 0) throw caught;
    const named = new Set(violations.map(({ field }) => field));
    violations.push(...caught.violations.filter(({ field }) => !named.has(field)));
  }
};

/** Undefined when the message holds no valid subject; then `violations` says so already, or does now. */
export const decodeSubject = (
  message: SubjectMessage | undefined,
  violations: FieldViolation[],
): Subject | undefined => {
  const kind = message?.kind;
  switch (kind?.case) {
    case 'image': {
      const reference = kind.value;
      collect(violations, () => parseReference(reference, 'subject.image'));
      return { kind: 'image', reference };
    }
    case 'blobDigest': {
      const { name, digest } = kind.value;
      return isDigest(digest) ? { kind: 'blob-digest', name, digest } : undefined;
    }
    case 'blob':
      return { kind: 'blob', name: kind.value.name, content: kind.value.content };
    default:
      return undefined;
  }
};

const formatNames: Readonly<Record<number, FormatName>> = {
  [Format.SIMPLE_SIGNING]: 'simple-signing',
  [Format.DSSE]: 'dsse',
  [Format.BUNDLE]: 'bundle',
};

/** The formats asked for; none: those configured. `refuse` says why one does not fit this request. */
export const decodeFormats = (
  messages: readonly Format[],
  violations: FieldViolation[],
  refuse: (format: FormatName) => string | undefined,
): FormatName[] => {
  return messages.flatMap((message, index) => {
    const format = formatNames[message];
    if (format === undefined) return [];
    const description = refuse(format);
    if (description !== undefined) violations.push({ field: `formats[${index}]`, description });
    return [format];
  });
};

/** Unset: beside an image, only returned for a blob. */
export const decodeStorage = (
  message: StorageMessage | undefined,
  subject: Subject | undefined,
  violations: FieldViolation[],
): Storage => {
  const isImage = subject === undefined || subject.kind === 'image';
  const mode = message?.mode ?? Storage_Mode.UNSPECIFIED;
  const attach = mode === Storage_Mode.ATTACH || (mode === Storage_Mode.UNSPECIFIED && isImage);
  if (mode === Storage_Mode.ATTACH && !isImage) {
    const description = 'MODE_ATTACH is for images; leave it out for a blob, the result is in the response';
    violations.push({ field: 'storage.mode', description });
  }
  const repository = decodeRepository(message?.repository ?? '', 'storage.repository', attach && isImage, violations);
  return attach ? { kind: 'attach', repository } : { kind: 'return' };
};

/** `host/path`, canonical, as policy compares it; undefined when empty or bad. `allowed`: does this request store or look for anything in a repository? */
export const decodeRepository = (
  text: string,
  field: string,
  allowed: boolean,
  violations: FieldViolation[],
): string | undefined => {
  if (text === '') return undefined;
  if (!allowed) {
    violations.push({ field, description: 'has a meaning only for an image and with MODE_ATTACH; leave it empty' });
    return undefined;
  }
  let canonical: string | undefined;
  collect(violations, () => {
    canonical = repositoryName(parseRepository(text, field));
  });
  return canonical;
};

/** The annotations as a null-prototype object, so that no name is inherited. */
export const decodeAnnotations = (
  annotations: Readonly<Record<string, string>>,
  subject: Subject | undefined,
  violations: FieldViolation[],
): Readonly<Record<string, string>> => {
  const names = Object.keys(annotations);
  if (names.length > 0 && subject !== undefined && subject.kind !== 'image') {
    violations.push({ field: 'annotations', description: 'are for images; a blob signature cannot carry them' });
  }
  for (const name of names) {
    if (!name.startsWith(reservedAnnotationPrefix)) continue;
    const description = `names that begin with ${reservedAnnotationPrefix} are the service's own; choose another`;
    violations.push({ field: `annotations[${JSON.stringify(name)}]`, description });
  }
  return Object.assign(Object.create(null), annotations);
};

/** Every manifest below an index too? */
export const decodeRecursive = (
  { recursive, platforms }: { readonly recursive: boolean; readonly platforms: readonly string[] },
  subject: Subject | undefined,
  violations: FieldViolation[],
): { readonly platforms: readonly string[] } | undefined => {
  if (recursive && subject !== undefined && subject.kind !== 'image') {
    violations.push({ field: 'recursive', description: 'is for images; a blob lists nothing' });
  }
  if (!recursive && platforms.length > 0) {
    violations.push({
      field: 'platforms',
      description: 'has a meaning only with recursive; set it, or leave this empty',
    });
  }
  return recursive ? { platforms } : undefined;
};
