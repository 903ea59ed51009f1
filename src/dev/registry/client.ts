import { type Digest, sha256 } from '../../model/digest.ts';

/** A descriptor as manifests and indexes hold it. */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: { readonly os: string; readonly architecture: string };
};

/** An OCI manifest or index, as far as the demo looks into it. */
export type Manifest = {
  readonly mediaType: string;
  readonly artifactType?: string;
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly Descriptor[];
  readonly subject?: Descriptor;
};

/** One repository of the embedded registry, spoken to as anybody can: plain HTTP, no credentials. */
export type RepositoryClient = {
  tags(): Promise<readonly string[]>;
  manifest(reference: string): Promise<{ readonly digest: Digest; readonly size: number; readonly manifest: Manifest }>;
  referrers(digest: Digest): Promise<readonly Descriptor[]>;
  blob(digest: Digest): Promise<Buffer>;
  putBlob(content: Buffer): Promise<Digest>;
  putManifest(manifest: Manifest, reference?: string): Promise<Digest>;
};

const accept = ['application/vnd.oci.image.index.v1+json', 'application/vnd.oci.image.manifest.v1+json'].join(', ');

export const repositoryClient = (host: string, repository: string): RepositoryClient => {
  const base = `http://${host}/v2/${repository}`;
  const ask = async (url: string | URL, init: RequestInit, expected: number): Promise<Response> => {
    const response = await fetch(url, init);
    if (response.status !== expected) {
      throw new Error(`${init.method ?? 'GET'} ${url} answered ${response.status}: ${await response.text()}`);
    }
    return response;
  };
  const read = async (path: string): Promise<Buffer> => {
    const response = await ask(`${base}/${path}`, { headers: { accept } }, 200);
    return Buffer.from(await response.arrayBuffer());
  };
  return {
    tags: async () => (JSON.parse((await read('tags/list')).toString()) as { tags: string[] }).tags,
    manifest: async (reference) => {
      const content = await read(`manifests/${reference}`);
      return {
        digest: sha256(content),
        size: content.byteLength,
        manifest: JSON.parse(content.toString()) as Manifest,
      };
    },
    referrers: async (digest) => {
      const index = JSON.parse((await read(`referrers/${digest}`)).toString()) as Manifest;
      return index.manifests ?? [];
    },
    blob: (digest) => read(`blobs/${digest}`),
    putBlob: async (content) => {
      const digest = sha256(content);
      const started = await ask(`${base}/blobs/uploads/`, { method: 'POST' }, 202);
      const location = new URL(started.headers.get('location') ?? '', base);
      location.searchParams.set('digest', digest);
      const headers = { 'content-type': 'application/octet-stream' };
      await ask(location, { method: 'PUT', headers, body: new Uint8Array(content) }, 201);
      return digest;
    },
    putManifest: async (manifest, reference) => {
      const content = Buffer.from(JSON.stringify(manifest));
      const headers = { 'content-type': manifest.mediaType };
      const url = `${base}/manifests/${reference ?? sha256(content)}`;
      await ask(url, { method: 'PUT', headers, body: new Uint8Array(content) }, 201);
      return sha256(content);
    },
  };
};
