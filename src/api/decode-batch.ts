import { create } from '@bufbuild/protobuf';
import { isJsonObject, type JsonValue } from '../codec/strict-json.ts';
import {
  type BatchItem as BatchItemMessage,
  BatchItemSchema,
  type SignBatchRequest,
  SignBatchRequestSchema,
} from '../gen/countersign/v1/signing_pb.ts';
import { CountersignError, type FieldViolation, invalidArgument } from '../model/error.ts';
import type { BatchCommand, BatchItem, BatchWork } from '../signing/sign-batch.ts';
import { decodeAttest, decodeSign } from './decode.ts';
import { jsonViolations } from './json-violations.ts';
import { readJson } from './read.ts';
import { violationsOf } from './validation.ts';

/** As in the contract; looked at before anything is done for each item. */
const maxItems = 1_000;

/**
 * Message -> command. Throws `invalid_argument` only for what concerns the batch: the number of items, and references that are
 * missing, bad or given twice. What is wrong with an item's request becomes the error of that item, its violations by their
 * path from the batch (`items[3].sign.key`).
 */
export const decodeBatch = ({ items }: SignBatchRequest): BatchCommand => {
  checkCount(items.length);
  checkReferences(items);
  return { items: items.map(itemOf) };
};

/** As `decodeBatch`, of proto3 JSON: what cannot be read of one item is an error of that item as well. */
export const decodeBatchJson = (value: JsonValue): BatchCommand => {
  const { items, ...others } = isJsonObject(value) ? value : {};
  const violations = jsonViolations(SignBatchRequestSchema, Array.isArray(items) ? others : value);
  if (violations.length > 0) throw invalidArgument(violations);
  const list = Array.isArray(items) ? items : [];
  checkCount(list.length);
  const read = list.map((item, index) => readItem(item, index, violations));
  if (violations.length > 0) throw invalidArgument(violations);
  checkReferences(read);
  return { items: read.map((item, index) => ('work' in item ? item : itemOf(item, index))) };
};

const itemOf = (item: BatchItemMessage, index: number): BatchItem => ({
  reference: item.reference,
  work: workOf(item.request, `items[${index}]`),
});

/** Reads one item; what is wrong with its reference joins `violations`, anything else is its error. */
const readItem = (value: JsonValue, index: number, violations: FieldViolation[]): BatchItemMessage | BatchItem => {
  const path = `items[${index}]`;
  const own = isJsonObject(value) ? { reference: value['reference'] ?? '' } : value;
  const bad = jsonViolations(BatchItemSchema, own, path);
  violations.push(...bad);
  const reference = isJsonObject(own) && typeof own['reference'] === 'string' ? own['reference'] : '';
  if (bad.length > 0) return { reference, work: invalidArgument(bad) };
  try {
    return readJson(BatchItemSchema, value);
  } catch (caught) {
    return { reference, work: below(path, caught) };
  }
};

const checkCount = (count: number): void => {
  if (count >= 1 && count <= maxItems) return;
  const description =
    count === 0 ? 'is required: 1 to 1,000 items' : `has ${count} items; send at most 1,000 in a batch`;
  throw invalidArgument([{ field: 'items', description }]);
};

const checkReferences = (items: readonly { readonly reference: string }[]): void => {
  const violations: FieldViolation[] = [];
  const first = new Map<string, number>();
  for (const [index, { reference }] of items.entries()) {
    const field = `items[${index}].reference`;
    const alone = create(BatchItemSchema, { reference });
    const bad = violationsOf(BatchItemSchema, alone).filter((violation) => violation.field === 'reference');
    violations.push(...bad.map(({ description }) => ({ field, description })));
    const twin = first.get(reference);
    if (twin === undefined) first.set(reference, index);
    else if (bad.length === 0)
      violations.push({ field, description: `is that of items[${twin}] too; give each its own` });
  }
  if (violations.length > 0) throw invalidArgument(violations);
};

const workOf = (request: BatchItemMessage['request'], path: string): BatchWork | CountersignError => {
  try {
    if (request.case === 'sign') return { verb: 'sign', command: decodeSign(request.value) };
    if (request.case === 'attest') return { verb: 'attest', command: decodeAttest(request.value) };
  } catch (caught) {
    return below(`${path}.${request.case}`, caught);
  }
  return invalidArgument([{ field: `${path}.request`, description: 'is required: set one of sign, attest' }]);
};

/** What is wrong with a part, by its path from the whole. Throws anything that is not the caller's fault. */
const below = (path: string, caught: unknown): CountersignError => {
  if (!(caught instanceof CountersignError) || caught.code !== 'invalid_argument') throw caught;
  return invalidArgument(
    caught.violations.map(({ field, description }) => ({
      field: field === '' ? path : `${path}.${field}`,
      description,
    })),
  );
};
