import { createHash, randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestHex } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';

/** The files of an OCI layout (OCI image-spec "Image Layout"), opened so that no link leads out of its folder. */
export type LayoutFiles = {
  readonly folder: string;
  /** The whole of `index.json` or `oci-layout`; undefined when it is not there. */
  read(name: 'index.json' | 'oci-layout', maxBytes: number): Promise<Uint8Array | undefined>;
  /** Does it begin like a JSON object? */
  isJson(digest: Digest): Promise<boolean>;
  readBlob(digest: Digest, maxBytes: number): Promise<Uint8Array | undefined>;
  streamBlob(digest: Digest): AsyncIterable<Uint8Array>;
  /** Is a blob with these very bytes there? */
  hasBlob(blob: { readonly digest: Digest; readonly size: number }): Promise<boolean>;
  /** The digests of the blobs up to this size, as their names say; at most 50,000. */
  listBlobs(maxBytes: number): Promise<readonly Digest[]>;
  write(name: 'index.json' | 'oci-layout', content: Uint8Array): Promise<void>;
  /** `pieces` have been checked against the digest. */
  writeBlob(digest: Digest, pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void>;
};

const maxBlobs = 50_000;
const pieceBytes = 256 * 1024;

export const layoutFiles = (folder: string): LayoutFiles => {
  const blobs = join(folder, 'blobs', 'sha256');
  const pathOf = (digest: Digest): string => join(blobs, digestHex(digest));

  /** The two folders on the way to the blobs may be links as well. */
  const assertFolders = async (): Promise<void> => {
    for (const path of [join(folder, 'blobs'), blobs]) {
      const stats = await statsOf(path);
      if (stats !== undefined && !stats.isDirectory()) throw invalid(folder, `${path} is no folder`);
    }
  };
  let folders: Promise<void> | undefined;
  const safe = (): Promise<void> => {
    folders ??= assertFolders();
    return folders;
  };

  const openFile = async (path: string) => {
    await safe();
    try {
      const file = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
      const stats = await file.stat();
      if (stats.isFile()) return { file, size: stats.size };
      await file.close();
    } catch (error) {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
      if (codeOf(error) !== 'ELOOP') throw unusable(folder, path, error);
    }
    throw invalid(folder, `${path} is no plain file`);
  };

  const readAt = async (path: string, maxBytes: number): Promise<Uint8Array | undefined> => {
    const opened = await openFile(path);
    if (opened === undefined) return undefined;
    try {
      if (opened.size > maxBytes) throw invalid(folder, `${path} has more than ${maxBytes} bytes`);
      const content = Buffer.alloc(opened.size);
      let read = 0;
      for (let got = -1; got !== 0 && read < content.byteLength; read += got) {
        ({ bytesRead: got } = await opened.file.read(content, read, content.byteLength - read, read));
      }
      return content.subarray(0, read);
    } finally {
      await opened.file.close();
    }
  };

  async function* streamBlob(digest: Digest, bytes = pieceBytes): AsyncIterable<Uint8Array> {
    const opened = await openFile(pathOf(digest));
    if (opened === undefined) {
      throw new CountersignError('not_found', 'BLOB_NOT_FOUND', `${folder} has no blob ${digest}.`);
    }
    try {
      for (let at = 0; ; ) {
        const { bytesRead, buffer } = await opened.file.read(Buffer.alloc(bytes), 0, bytes, at);
        if (bytesRead === 0) return;
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await opened.file.close();
    }
  }

  /** Whole or not at all. */
  const writeAt = async (path: string, pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> => {
    const temporary = join(folder, `.countersign-${randomBytes(8).toString('hex')}`);
    try {
      await safe();
      await mkdir(blobs, { recursive: true });
      const file = await open(temporary, 'wx', 0o644);
      try {
        for await (const piece of pieces) await file.writeFile(piece);
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error instanceof CountersignError ? error : unusable(folder, path, error);
    }
  };

  return {
    folder,
    read: (name, maxBytes) => readAt(join(folder, name), maxBytes),
    isJson: async (digest) => {
      for await (const piece of streamBlob(digest, 1)) return piece[0] === 0x7b;
      return false;
    },
    readBlob: (digest, maxBytes) => readAt(pathOf(digest), maxBytes),
    streamBlob: (digest) => streamBlob(digest),
    hasBlob: async ({ digest, size }) => {
      const opened = await openFile(pathOf(digest));
      if (opened === undefined) return false;
      await opened.file.close();
      if (opened.size !== size) return false;
      const hash = createHash('sha256');
      for await (const piece of streamBlob(digest)) hash.update(piece);
      return hash.digest('hex') === digestHex(digest);
    },
    listBlobs: async (maxBytes) => {
      await safe();
      const names = (await readdir(blobs).catch(() => [])).filter((name) => /^[0-9a-f]{64}$/.test(name));
      if (names.length > maxBlobs) throw invalid(folder, `it has more than ${maxBlobs} blobs`);
      const found: Digest[] = [];
      for (const name of names) {
        const stats = await statsOf(join(blobs, name));
        if (stats?.isFile() === true && stats.size <= maxBytes) found.push(`sha256:${name}`);
      }
      return found.sort();
    },
    write: (name, content) => writeAt(join(folder, name), [content]),
    writeBlob: (digest, pieces) => writeAt(pathOf(digest), pieces),
  };
};

const statsOf = async (path: string): Promise<Stats | undefined> => {
  try {
    return await lstat(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
};

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '');

/** `failed_precondition`, reason `LAYOUT_INVALID`. */
export const invalid = (folder: string, what: string): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'LAYOUT_INVALID',
    `${folder} is no OCI layout that can be used: ${what}.`,
  );

const unusable = (folder: string, path: string, cause: unknown): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'LAYOUT_INVALID',
    `${folder}: ${path} cannot be used (${codeOf(cause)}).`,
    {
      cause,
    },
  );
