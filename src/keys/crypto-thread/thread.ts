// The thread of `crypto-thread.ts`: takes keys and blocks of operations, answers each block with one of outcomes.
import { type KeyObject, sign, verify } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { type Operation, type Outcome, readOperations, writeOutcomes } from './wire.ts';

/** A key under its number, with the hash that it signs (null: none); the end of a number; operations. */
export type ToThread =
  | { readonly id: number; readonly key: KeyObject; readonly hash: string | null }
  | { readonly forget: number }
  | ArrayBuffer;

const keys = new Map<number, { readonly key: KeyObject; readonly hash: string | null }>();

const perform = ({ key: id, message, signature }: Operation): Outcome => {
  const known = keys.get(id);
  if (known === undefined) return new Error(`the thread has no key ${id}`);
  const { key, hash } = known;
  try {
    return signature === undefined ? sign(hash, message, key) : verify(hash, message, key, signature);
  } catch (caught) {
    return caught instanceof Error ? caught : new Error(String(caught));
  }
};

const port = parentPort;
port?.on('message', (message: ToThread) => {
  if (message instanceof ArrayBuffer) {
    const outcomes = writeOutcomes(readOperations(message).map(perform));
    port.postMessage(outcomes, [outcomes]);
  } else if ('forget' in message) keys.delete(message.forget);
  else keys.set(message.id, message);
});
