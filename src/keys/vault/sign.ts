import { createHash } from 'node:crypto';
import { z } from 'zod';
import { decodeBase64 } from '../../codec/base64.ts';
import { CountersignError } from '../../model/error.ts';
import type { KeyVersion, ToSign } from '../../model/signature.ts';
import { algorithms, assertSignable } from '../algorithms.ts';
import { vaultGarbage, vaultItemError } from './errors.ts';

/** The version that signs, and where its key stands. */
export type SigningKey = {
  readonly version: KeyVersion;
  /** The name in the transit engine. */
  readonly key: string;
  readonly host: string;
};

/** Sends one request: a path below the mount, and its body; answers with parsed JSON, unchecked. */
export type Send = (path: string, body: object) => Promise<unknown>;

const made = z.object({ signature: z.string().max(16_384), key_version: z.int().optional() });
const signAnswer = z.object({ data: made });
const batchAnswer = z.object({ data: z.object({ batch_results: z.array(z.unknown()) }) });
const failedItem = z.object({ error: z.string().min(1) });

/**
 * The inputs of one request take at most so many bytes together, and one that is larger goes alone: what Vault's listener
 * takes as one string (1 MiB of base64). So a message that is too large for Vault fails by itself.
 */
const maxInputBytes = 768 * 1024;

/** ECDSA and RSA get the digest, so that large messages stay here; Ed25519 signs the message itself, never prehashed. */
const signInput = (version: KeyVersion, toSign: ToSign): Uint8Array => {
  assertSignable(version.algorithm, toSign.kind);
  const { hash } = algorithms[version.algorithm];
  if (toSign.kind === 'digest') return toSign.digest;
  return hash === undefined ? toSign.message : createHash(hash).update(toSign.message).digest();
};

const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

/** Path below the mount, and what besides the input the body says: nothing is left to Vault's defaults. */
const signRequest = ({ version, key }: SigningKey): readonly [path: string, body: object] => {
  const algorithm = algorithms[version.algorithm];
  const common = { key_version: Number(version.version), marshaling_algorithm: 'asn1' };
  if (algorithm.type === 'ed25519') return [`sign/${key}`, common];
  // Vault's default salt is the largest possible; everyone else's is as long as the hash.
  const salt = algorithm.type === 'rsa' && algorithm.padding === 'pss' ? { salt_length: 'hash' } : {};
  const padding = algorithm.type === 'rsa' ? { signature_algorithm: algorithm.padding, ...salt } : {};
  return [`sign/${key}/${algorithm.vault.hash}`, { ...common, prehashed: true, ...padding }];
};

/** `vault:v3:...` -> the bytes, when exactly the version that was asked signed. */
const readSignature = (answer: unknown, { version, host }: SigningKey): Uint8Array => {
  const parsed = made.safeParse(answer);
  const parts = /^vault:v(\d{1,9}):([A-Za-z0-9+/=]+)$/.exec(parsed.data?.signature ?? '');
  const signature = decodeBase64(parts?.[2] ?? '');
  if (parsed.data === undefined || parts === null || signature === undefined) throw vaultGarbage(host, 'no signature');
  const signedBy = parsed.data.key_version ?? Number(parts[1]);
  if (parts[1] !== version.version || signedBy !== Number(version.version)) {
    throw new CountersignError(
      'data_loss',
      'KEY_VERSION_MISMATCH',
      `Vault (${host}) signed with version ${parts[1]} of key ${version.key} instead of ${version.version}; the signature was dropped.`,
    );
  }
  return signature;
};

/**
 * One signature by exactly the given version: ASN.1, PSS with a salt of the hash's length. Throws as `send`;
 * `DIGEST_NOT_SUPPORTED` as `assertSignable`; `data_loss`, reason `KEY_VERSION_MISMATCH` when another version signed, or
 * `KEY_ANSWER_MALFORMED`.
 */
export const signOne = async (toSign: ToSign, key: SigningKey, send: Send): Promise<Uint8Array> => {
  const input = base64(signInput(key.version, toSign));
  const [path, body] = signRequest(key);
  const answer = signAnswer.safeParse(await send(path, { input, ...body }));
  return readSignature(answer.data?.data, key);
};

type Outcome = Uint8Array | CountersignError;

const outcomeOf = (work: () => Uint8Array): Outcome => {
  try {
    return work();
  } catch (caught) {
    if (caught instanceof CountersignError) return caught;
    throw caught;
  }
};

type Input = { readonly at: number; readonly bytes: Uint8Array };

const grouped = (inputs: readonly Input[]): readonly (readonly Input[])[] => {
  const groups: Input[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const input of inputs) {
    size += input.bytes.byteLength;
    if (size > maxInputBytes) {
      groups.push([]);
      size = input.bytes.byteLength;
    }
    groups.at(-1)?.push(input);
  }
  return groups;
};

const readBatch = (answer: unknown, count: number, key: SigningKey): readonly Outcome[] => {
  const results = batchAnswer.safeParse(answer).data?.data.batch_results;
  if (results?.length !== count) throw vaultGarbage(key.host, `not ${count} results for ${count} inputs`);
  return results.map((result) => {
    const failed = failedItem.safeParse(result);
    return failed.success ? vaultItemError(key.host, failed.data.error) : outcomeOf(() => readSignature(result, key));
  });
};

/**
 * Many signatures with transit's `batch_input`: one request, or more, one after the other, where the inputs are large
 * (Ed25519 messages). Answers in order, each as `signOne` would answer or throw; throws where all failed for one reason.
 */
export const signBatch = async (
  toSigns: readonly ToSign[],
  key: SigningKey,
  send: Send,
): Promise<readonly Outcome[]> => {
  const inputs = toSigns.map((toSign) => outcomeOf(() => signInput(key.version, toSign)));
  const outcomes = [...inputs];
  const [path, body] = signRequest(key);
  const signGroup = async (group: readonly Input[]): Promise<readonly Outcome[]> => {
    const batch_input = group.map(({ bytes }) => ({ input: base64(bytes) }));
    try {
      return readBatch(await send(path, { ...body, batch_input }), group.length, key);
    } catch (caught) {
      if (caught instanceof CountersignError) return group.map(() => caught);
      throw caught;
    }
  };
  const fit = inputs.flatMap((bytes, at) => (bytes instanceof CountersignError ? [] : [{ at, bytes }]));
  for (const group of grouped(fit)) {
    for (const [index, outcome] of (await signGroup(group)).entries()) outcomes[group[index]?.at ?? 0] = outcome;
  }
  const [first] = outcomes;
  const alike = (outcome: Outcome): boolean =>
    outcome instanceof CountersignError && first instanceof CountersignError && outcome.reason === first.reason;
  if (first instanceof CountersignError && outcomes.every(alike)) throw first;
  return outcomes;
};
