import { create, toBinary } from '@bufbuild/protobuf';
import { z } from 'zod';
import { parseStrictJson } from '../codec/strict-json.ts';
import {
  AttestRequestSchema,
  type BatchItem,
  BatchItemSchema,
  type SignRequest,
  SignRequestSchema,
} from '../gen/countersign/v1/signing_pb.ts';
import { type Storage, Storage_Mode, StorageSchema, SubjectSchema } from '../gen/countersign/v1/types_pb.ts';
import { CountersignError } from '../model/error.ts';
import { UsageError } from './command.ts';
import { formatNamed } from './request.ts';

/** One line of a batch file in JSON; what it leaves out is as the options say. */
const lineSchema = z.strictObject({
  /** Default: the number of the line. */
  reference: z.string().optional(),
  image: z.string().optional(),
  /** A blob, by its name and digest, instead of an image. */
  name: z.string().optional(),
  digest: z.string().optional(),
  key: z.string().optional(),
  formats: z.array(z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  recursive: z.boolean().optional(),
  platforms: z.array(z.string()).optional(),
  ifAbsent: z.boolean().optional(),
  repository: z.string().optional(),
  /** `false`: push nothing. */
  store: z.boolean().optional(),
  /** With these two it is an attestation. */
  predicateType: z.string().optional(),
  predicate: z.record(z.string(), z.unknown()).optional(),
});
type Line = z.output<typeof lineSchema>;

const maxLineBytes = 4 * 1024 * 1024;

/**
 * The text of a batch file -> the items, each over `defaults`. A line is a JSON object or the reference of an image; empty lines
 * and those that begin with `#` are left out. Throws `invalid_argument`, reason BATCH_UNREADABLE, that names every bad line.
 */
export const readBatch = (text: string, defaults: SignRequest): readonly BatchItem[] => {
  const items: BatchItem[] = [];
  const problems: string[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    try {
      items.push(itemOf(readLine(line), `${index + 1}`, defaults));
    } catch (caught) {
      if (!(caught instanceof CountersignError || caught instanceof UsageError)) throw caught;
      problems.push(`line ${index + 1}: ${caught.message}`);
    }
  }
  if (problems.length > 0) throw new CountersignError('invalid_argument', 'BATCH_UNREADABLE', problems.join('\n'));
  if (items.length === 0) throw new CountersignError('invalid_argument', 'BATCH_UNREADABLE', 'The batch has no items.');
  return items;
};

const readLine = (line: string): Line => {
  if (!line.startsWith('{')) return { image: line };
  const value = parseStrictJson(Buffer.from(line), { maxBytes: maxLineBytes, rejectUnsafeIntegers: true });
  const { data, error } = lineSchema.safeParse(value);
  if (data !== undefined) return data;
  throw new UsageError(error.issues.map(({ path, message }) => [...path, message].join(': ')).join('; '));
};

const itemOf = (line: Line, number: string, defaults: SignRequest): BatchItem => {
  const { image, name, digest, predicateType, predicate } = line;
  if ((image === undefined) === (name === undefined) || (name === undefined) !== (digest === undefined)) {
    throw new UsageError('name exactly one subject: image, or name and digest');
  }
  if ((predicateType === undefined) !== (predicate === undefined)) {
    throw new UsageError('predicateType and predicate belong together');
  }
  const common = {
    subject: create(SubjectSchema, {
      kind:
        image === undefined
          ? { case: 'blobDigest', value: { name: name ?? '', digest: digest ?? '' } }
          : { case: 'image', value: image },
    }),
    key: line.key ?? defaults.key,
    formats: line.formats?.map(formatNamed) ?? defaults.formats,
    recursive: line.recursive ?? defaults.recursive,
    platforms: line.platforms ?? defaults.platforms,
    ...storageOfLine(line, defaults.storage),
  };
  if (common.key === '') throw new UsageError('key is missing, here and as --key');
  const ifAbsent = line.ifAbsent ?? defaults.ifAbsent;
  const again = ifAbsent === undefined ? {} : { ifAbsent };
  const reference = line.reference ?? number;
  if (predicateType !== undefined) {
    const bytes = Buffer.from(JSON.stringify(predicate));
    const value = create(AttestRequestSchema, { ...common, ...again, predicateType, predicate: bytes });
    return create(BatchItemSchema, { reference, request: { case: 'attest', value } });
  }
  const value = create(SignRequestSchema, {
    ...common,
    ...again,
    annotations: { ...defaults.annotations, ...line.annotations },
  });
  return create(BatchItemSchema, { reference, request: { case: 'sign', value } });
};

const storageOfLine = ({ repository, store }: Line, otherwise: Storage | undefined): { storage?: Storage } => {
  if (store === false) return { storage: create(StorageSchema, { mode: Storage_Mode.RETURN_ONLY }) };
  if (repository !== undefined) return { storage: create(StorageSchema, { mode: Storage_Mode.ATTACH, repository }) };
  return otherwise === undefined ? {} : { storage: otherwise };
};

/** What one call takes: 1,000 items, and 4 MiB with room for what surrounds them. */
const maxItems = 1_000;
const maxBytes = 4_000_000;

/** The items in as few calls as take them, in their order. */
export const splitBatch = (items: readonly BatchItem[]): readonly (readonly BatchItem[])[] => {
  const calls: BatchItem[][] = [];
  let size = 0;
  for (const item of items) {
    const bytes = toBinary(BatchItemSchema, item).byteLength + 10;
    const last = calls.at(-1);
    size += bytes;
    if (last !== undefined && last.length < maxItems && size <= maxBytes) last.push(item);
    else {
      calls.push([item]);
      size = bytes;
    }
  }
  return calls;
};
