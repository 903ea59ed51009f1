import { type BigIntStats, constants, fstatSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';

const { O_APPEND, O_CREAT, O_WRONLY } = constants;

/** An open file to which whole lines are appended. Not for concurrent use. */
export type AppendFile = {
  /** After a failure the file must be opened anew: half a line may be in it. */
  append(lines: string): Promise<void>;
  /** Makes durable what was appended. */
  sync(): Promise<void>;
  /** Does any directory entry still lead to the file? False after it was deleted. */
  linked(): boolean;
  close(): Promise<void>;
};

/**
 * Opens for appending; what is appended begins on a new line. Creates the file when absent (mode 0600) and makes the
 * new directory entry durable.
 */
export const openAppendFile = async (path: string): Promise<AppendFile> => {
  const handle = await open(path, O_WRONLY | O_APPEND | O_CREAT, 0o600);
  let torn: boolean;
  try {
    const { size } = await handle.stat({ bigint: true });
    if (size === 0n) await syncDirectory(dirname(path));
    torn = size > 0n && (await endsInsideLine(path, size));
  } catch (error) {
    await handle.close();
    throw error;
  }
  return {
    append: async (lines) => {
      const bytes = Buffer.from(torn ? `\n${lines}` : lines);
      let written = 0;
      while (written < bytes.length) written += (await handle.write(bytes, written)).bytesWritten;
      torn = false;
    },
    sync: () => handle.datasync(),
    linked: () => fstatSync(handle.fd).nlink > 0,
    close: () => handle.close(),
  };
};

const newline = 0x0a;

/** A crash or a full disk may have left half a line. Nor is a file trusted that cannot be read back. */
const endsInsideLine = async (path: string, size: BigIntStats['size']): Promise<boolean> => {
  let reader: FileHandle;
  try {
    reader = await open(path, 'r');
  } catch {
    return true;
  }
  try {
    const { buffer, bytesRead } = await reader.read(Buffer.alloc(1), 0, 1, size - 1n);
    return bytesRead !== 1 || buffer[0] !== newline;
  } finally {
    await reader.close();
  }
};

const syncDirectory = async (path: string): Promise<void> => {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
};
