import { open } from 'node:fs/promises';
import { CountersignError } from '../model/error.ts';

/**
 * Reads a small file of the operator: at most `maxBytes`, UTF-8. `what` names it in errors ("the key file"). Throws
 * `failed_precondition`, reason `KEY_FILE_UNREADABLE`, with the path and the system's reason.
 */
export const readTextFile = async (path: string, what: string, maxBytes: number): Promise<string> => {
  const refuse = (why: string, cause?: unknown): CountersignError =>
    new CountersignError('failed_precondition', 'KEY_FILE_UNREADABLE', `Cannot read ${what} ${path}: ${why}.`, {
      cause,
    });
  let bytes: Buffer;
  let size: number;
  try {
    await using file = await open(path, 'r');
    if (!(await file.stat()).isFile()) throw refuse('it is not a file');
    bytes = Buffer.alloc(maxBytes + 1);
    // One read can come short of what is there, so it goes on until the end or the bound.
    for (size = 0; size < bytes.length; ) {
      const { bytesRead } = await file.read(bytes, size, bytes.length - size);
      if (bytesRead === 0) break;
      size += bytesRead;
    }
  } catch (caught) {
    if (caught instanceof CountersignError) throw caught;
    const code = caught instanceof Error && 'code' in caught ? String(caught.code) : 'unknown error';
    throw refuse(code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'permission denied' : code, caught);
  }
  if (size > maxBytes) throw refuse(`it is larger than ${maxBytes} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, size));
  } catch (caught) {
    throw refuse('it is not text (UTF-8)', caught);
  }
};

/** Reads a one-line secret; one final newline is dropped, as editors and `echo` add it. */
export const readSecretFile = async (path: string, what: string): Promise<string> =>
  (await readTextFile(path, what, 64 * 1024)).replace(/\r?\n$/, '');
