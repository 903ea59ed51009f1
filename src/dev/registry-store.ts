import { type Digest, sha256 } from '../model/digest.ts';

/** A manifest as it was pushed. */
export type StoredManifest = {
  readonly digest: Digest;
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
  readonly tags: Map<string, Digest>;
  readonly uploads: Map<string, Buffer[]>;
};

/** Repositories in memory. */
export type Store = {
  /** Undefined when nothing was ever pushed there. */
  find(name: string): Repository | undefined;
  open(name: string): Repository;
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
  };
};

/** Takes a manifest apart as far as a registry must; undefined when it is not a JSON object. */
export const readManifest = (body: Buffer, mediaType: string): StoredManifest | undefined => {
  let json: unknown;
  try {
    json = JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return undefined;
  const manifest = json as {
    subject?: { digest?: unknown };
    artifactType?: unknown;
    config?: { mediaType?: unknown };
    annotations?: Record<string, string>;
  };
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
  return {
    digest: sha256(body),
    mediaType,
    body,
    subject: text(manifest.subject?.digest),
    artifactType: text(manifest.artifactType) ?? text(manifest.config?.mediaType),
    annotations: manifest.annotations,
  };
};
