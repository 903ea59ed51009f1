import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { CountersignError } from '../model/error.ts';

/** The whole content of a file (`-`: standard input), at most `maxBytes`. Throws `invalid_argument`, reason FILE_UNREADABLE or FILE_TOO_LARGE. */
export const readBounded = async (path: string, maxBytes: number): Promise<Uint8Array> => {
  const content = await readUpTo(path, maxBytes);
  if (content === undefined) {
    throw new CountersignError('invalid_argument', 'FILE_TOO_LARGE', `${path} is larger than ${maxBytes} bytes.`);
  }
  return content;
};

/** As `readBounded`, but undefined when the file is larger. */
export const readUpTo = async (path: string, maxBytes: number): Promise<Uint8Array | undefined> => {
  try {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of path === '-' ? process.stdin : createReadStream(path)) {
      size += chunk.length;
      if (size > maxBytes) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (caught) {
    throw unreadable(path, caught);
  }
};

/** UTF-8 text of a small file. */
export const readText = async (path: string, maxBytes = 65_536): Promise<string> =>
  new TextDecoder().decode(await readBounded(path, maxBytes));

/** SHA-256 of a file of any size, read as a stream. */
export const digestFile = async (path: string): Promise<`sha256:${string}`> => {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path)) hash.update(chunk);
  } catch (caught) {
    throw unreadable(path, caught);
  }
  return `sha256:${hash.digest('hex')}`;
};

const words: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'may not be read',
  EISDIR: 'is a folder',
};

const unreadable = (path: string, caught: unknown): CountersignError => {
  const code = caught instanceof Error && 'code' in caught ? String(caught.code) : '';
  const what = words[code] ?? `cannot be read (${code})`;
  return new CountersignError('invalid_argument', 'FILE_UNREADABLE', `${path} ${what}.`, { cause: caught });
};
