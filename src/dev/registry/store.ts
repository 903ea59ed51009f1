/** A manifest as it was pushed. */
export type StoredManifest = {
  /** What it is kept under: its sha256 or sha512 digest. */
  readonly digest: string;
  readonly mediaType: string;
  readonly body: Buffer;
  /** What its `subject` refers to. */
  readonly subject: string | undefined;
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>> | undefined;
};

export type Repository = {
  readonly blobs: Map<string, Buffer>;
  readonly manifests: Map<string, StoredManifest>;
  readonly tags: Map<string, string>;
  readonly uploads: Map<string, Buffer[]>;
};

/** Repositories in memory. */
export type Store = {
  /** Undefined when nothing was ever pushed there. */
  find(name: string): Repository | undefined;
  open(name: string): Repository;
  /** A blob, whichever repository has it. */
  blob(digest: string): Buffer | undefined;
};

export const createStore = (): Store => {
  const repositories = new Map<string, Repository>();
  return {
    find: (name) => repositories.get(name),
    open: (name) => {
      const existing = repositories.get(name);
      if (existing !== undefined) return existing;
      const opened = { blobs: new Map(), manifests: new Map(), tags: new Map(), uploads: new Map() };
      repositories.set(name, opened);
      return opened;
    },
    blob: (digest) => {
      for (const { blobs } of repositories.values()) {
        const found = blobs.get(digest);
        if (found !== undefined) return found;
      }
      return undefined;
    },
  };
};
