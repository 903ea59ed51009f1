import { gzipSync } from 'node:zlib';
import { request } from 'undici';
import { type Digest, sha256 } from '../model/digest.ts';

export type PushedImage = {
  /** The index's digest: what the tag leads to. */
  readonly digest: Digest;
  /** The digest of each platform's manifest, in the order asked for. */
  readonly platforms: readonly { readonly platform: string; readonly digest: Digest }[];
};

/**
 * Makes a small image for several platforms (`os/architecture`) and pushes it to a registry that speaks plain http and
 * wants no credentials. `content` makes its digest differ from that of other images.
 */
export const pushImage = async (
  host: string,
  repository: string,
  tag: string,
  options: { readonly platforms?: readonly string[]; readonly content?: string } = {},
): Promise<PushedImage> => {
  const base = `http://${host}/v2/${repository}`;
  const content = options.content ?? `${repository}:${tag}`;
  const platforms: { platform: string; digest: Digest; size: number }[] = [];
  for (const platform of options.platforms ?? ['linux/amd64', 'linux/arm64']) {
    const [os = 'linux', architecture = 'amd64'] = platform.split('/');
    const tar = tarOf('hello.txt', Buffer.from(`${content} on ${platform}\n`));
    const layer = gzipSync(tar);
    const config = json({ architecture, os, config: {}, rootfs: { type: 'layers', diff_ids: [sha256(tar)] } });
    await pushBlob(base, layer);
    await pushBlob(base, config);
    const manifest = json({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: descriptor('application/vnd.oci.image.config.v1+json', config),
      layers: [descriptor('application/vnd.oci.image.layer.v1.tar+gzip', layer)],
    });
    await pushManifest(base, sha256(manifest), 'application/vnd.oci.image.manifest.v1+json', manifest);
    platforms.push({ platform, digest: sha256(manifest), size: manifest.byteLength });
  }
  const index = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: platforms.map(({ platform, digest, size }) => {
      const [os, architecture] = platform.split('/');
      return { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size, platform: { architecture, os } };
    }),
  });
  await pushManifest(base, tag, 'application/vnd.oci.image.index.v1+json', index);
  return { digest: sha256(index), platforms: platforms.map(({ platform, digest }) => ({ platform, digest })) };
};

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

const descriptor = (mediaType: string, content: Buffer) => ({
  mediaType,
  digest: sha256(content),
  size: content.byteLength,
});

const pushBlob = async (base: string, content: Buffer): Promise<void> => {
  const started = await request(`${base}/blobs/uploads/`, { method: 'POST' });
  await started.body.dump();
  const location = new URL(String(started.headers['location'] ?? ''), base);
  location.searchParams.set('digest', sha256(content));
  await put(location, 'application/octet-stream', content);
};

const pushManifest = (base: string, reference: string, mediaType: string, content: Buffer): Promise<void> =>
  put(new URL(`${base}/manifests/${reference}`), mediaType, content);

const put = async (url: URL, contentType: string, content: Buffer): Promise<void> => {
  const { statusCode, body } = await request(url, {
    method: 'PUT',
    headers: { 'content-type': contentType },
    body: content,
  });
  const text = await body.text();
  if (statusCode !== 201) throw new Error(`${url} answered ${statusCode}: ${text.slice(0, 200)}`);
};

/** A tar archive (POSIX ustar) of one file, the same bytes every time. */
const tarOf = (name: string, content: Buffer): Buffer => {
  const header = Buffer.alloc(512);
  const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`;
  header.write(name, 0);
  header.write(octal(0o644, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(content.byteLength, 12), 124);
  header.write(octal(0, 12), 136);
  header.write('        0', 148);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const padding = Buffer.alloc((512 - (content.byteLength % 512)) % 512);
  return Buffer.concat([header, content, padding, Buffer.alloc(1024)]);
};
