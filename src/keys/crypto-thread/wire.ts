/*
 * What goes to the thread and back: many operations as one block of bytes that changes hands, since a message between threads
 * costs as much as a signature and a block is not copied.
 */

/** One operation: a signature over `message`, or the verification of `signature` over it. */
export type Operation = {
  /** The number under which the thread was given the key. */
  readonly key: number;
  readonly message: Uint8Array;
  readonly signature: Uint8Array | undefined;
};

/** A signature, whether one is good, or why neither could be told. */
export type Outcome = Buffer | boolean | Error;

const operationHeader = 12;

/** Key, one more than the length of the signature (0: sign), length of the message, 32 bits each; then message and signature. */
export const writeOperations = (operations: readonly Operation[]): ArrayBuffer => {
  let size = 0;
  for (const { message, signature } of operations) size += operationHeader + message.length + (signature?.length ?? 0);
  const block = Buffer.from(new ArrayBuffer(size));
  let at = 0;
  for (const { key, message, signature } of operations) {
    at = block.writeUInt32LE(key, at);
    at = block.writeUInt32LE(signature === undefined ? 0 : signature.length + 1, at);
    at = block.writeUInt32LE(message.length, at);
    block.set(message, at);
    at += message.length;
    if (signature === undefined) continue;
    block.set(signature, at);
    at += signature.length;
  }
  return block.buffer;
};

export const readOperations = (bytes: ArrayBuffer): readonly Operation[] => {
  const block = Buffer.from(bytes);
  const operations: Operation[] = [];
  for (let at = 0; at < block.length; ) {
    const key = block.readUInt32LE(at);
    const verifies = block.readUInt32LE(at + 4);
    const messageEnd = at + operationHeader + block.readUInt32LE(at + 8);
    const message = block.subarray(at + operationHeader, messageEnd);
    at = verifies === 0 ? messageEnd : messageEnd + verifies - 1;
    operations.push({ key, message, signature: verifies === 0 ? undefined : block.subarray(messageEnd, at) });
  }
  return operations;
};

const kinds = { bad: 0, good: 1, signature: 2, error: 3 } as const;
const outcomeHeader = 5;
const nothing = Buffer.alloc(0);

const encoded = (outcome: Outcome): { readonly kind: number; readonly bytes: Uint8Array } => {
  if (outcome instanceof Error) return { kind: kinds.error, bytes: Buffer.from(outcome.message) };
  if (typeof outcome === 'boolean') return { kind: outcome ? kinds.good : kinds.bad, bytes: nothing };
  return { kind: kinds.signature, bytes: outcome };
};

/** A kind in 8 bits, a length in 32, and what the kind has to say, for each in its order. */
export const writeOutcomes = (outcomes: readonly Outcome[]): ArrayBuffer => {
  const parts = outcomes.map(encoded);
  const block = Buffer.from(new ArrayBuffer(parts.reduce((size, { bytes }) => size + outcomeHeader + bytes.length, 0)));
  let at = 0;
  for (const { kind, bytes } of parts) {
    at = block.writeUInt8(kind, at);
    at = block.writeUInt32LE(bytes.length, at);
    block.set(bytes, at);
    at += bytes.length;
  }
  return block.buffer;
};

export const readOutcomes = (bytes: ArrayBuffer): readonly Outcome[] => {
  const block = Buffer.from(bytes);
  const outcomes: Outcome[] = [];
  for (let at = 0; at < block.length; ) {
    const kind = block.readUInt8(at);
    const start = at + outcomeHeader;
    at = start + block.readUInt32LE(at + 1);
    const said = block.subarray(start, at);
    if (kind === kinds.signature) outcomes.push(said);
    else outcomes.push(kind === kinds.error ? new Error(said.toString()) : kind === kinds.good);
  }
  return outcomes;
};
