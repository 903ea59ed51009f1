import { open, stat } from 'node:fs/promises';

/** What a file says, read again when it changes: mounted secrets rotate. */
export type WatchedFile<T> = {
  /** What it said when it was last read with success. */
  last(): T;
  /** What it says. It is looked at once a second at most; with `anew` at once. A file that became unreadable keeps saying what it said. */
  read(anew: boolean): Promise<T>;
};

const lookIntervalMs = 1_000;

/**
 * Reads the file, at most `maxBytes`, and parses its bytes. Rejects as `parse` throws, or with what `unreadable` makes of a reason in
 * words. Later on what was wrong with a change is told to `warn`, once for each change, and what was read before stays.
 */
export const watchFile = async <T>(
  path: string,
  options: {
    readonly maxBytes: number;
    readonly parse: (bytes: Buffer) => T;
    readonly unreadable: (why: string, cause?: unknown) => Error;
    readonly warn: (problem: unknown) => void;
  },
): Promise<WatchedFile<T>> => {
  const load = async (): Promise<T> => {
    let bytes: Buffer;
    try {
      bytes = await readAtMost(path, options.maxBytes + 1);
    } catch (caught) {
      throw options.unreadable(`cannot be read (${codeOf(caught)})`, caught);
    }
    if (bytes.byteLength > options.maxBytes) throw options.unreadable(`is larger than ${options.maxBytes} bytes`);
    return options.parse(bytes);
  };

  let seen = await identityOf(path);
  let value = await load();
  let lookedAt = performance.now();
  let looking: Promise<void> | undefined;

  const look = async (): Promise<void> => {
    lookedAt = performance.now();
    const now = await identityOf(path);
    if (now === seen) return;
    // Before it is read: what is written meanwhile is seen the next time.
    seen = now;
    try {
      value = await load();
    } catch (caught) {
      options.warn(caught);
    }
  };

  return {
    last: () => value,
    read: async (anew) => {
      if (anew || performance.now() - lookedAt >= lookIntervalMs) {
        looking ??= look().finally(() => {
          looking = undefined;
        });
        await looking;
      }
      return value;
    },
  };
};

/** Differs when the file was written or another one put in its place. */
const identityOf = async (path: string): Promise<string> => {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (caught) {
    return codeOf(caught);
  }
};

const readAtMost = async (path: string, bytes: number): Promise<Buffer> => {
  await using file = await open(path, 'r');
  const buffer = Buffer.alloc(bytes);
  let length = 0;
  for (let bytesRead = -1; bytesRead !== 0 && length < bytes; length += bytesRead) {
    ({ bytesRead } = await file.read(buffer, length, bytes - length));
  }
  return buffer.subarray(0, length);
};

const codeOf = (caught: unknown): string =>
  caught instanceof Error && 'code' in caught ? String(caught.code) : 'unknown error';
