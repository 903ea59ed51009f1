// Test images, made and pushed by crane.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, succeeded, temporaryFolder } from './peer.ts';
import type { Registry } from './registries.ts';

export interface TestImage {
  /** `HOST/REPOSITORY`. */
  readonly repository: string;
  readonly tag: string;
  /** `sha256:...` of the image, or of the index when it has platforms. */
  readonly digest: string;
  /** `HOST/REPOSITORY@DIGEST`. */
  readonly ref: string;
  /** The images of an index. */
  readonly platforms: readonly { readonly platform: string; readonly digest: string; readonly ref: string }[];
}

/**
 * Pushes `repository:tag` with OCI media types: one image, or, with platforms (`linux/amd64`), an index of one image each.
 * The same name gives the same digest.
 */
export async function pushTestImage(
  registry: Pick<Registry, 'host' | 'env'>,
  name: string,
  options: { readonly platforms?: readonly string[] } = {},
): Promise<TestImage> {
  const [path, tag] = name.split(':');
  if (path === undefined || tag === undefined) throw new Error(`a test image is named repository:tag, not '${name}'`);
  const repository = `${registry.host}/${path}`;
  const folder = temporaryFolder('image');
  const crane = async (...args: string[]): Promise<string> =>
    succeeded(await run('crane', [...args, '--insecure'], { env: registry.env })).stdout.trim();
  const digestOf = (printed: string): string => {
    const digest = /sha256:[0-9a-f]{64}$/.exec(printed)?.[0];
    return digest ?? fail(`crane named no digest: '${printed}'`);
  };
  const append = async (target: string, content: string): Promise<string> => {
    const layer = join(folder, 'layer.tar');
    writeFileSync(layer, tar('content.txt', content));
    return digestOf(await crane('append', '--oci-empty-base', '-f', layer, '-t', target));
  };

  const { platforms = [] } = options;
  if (platforms.length === 0) {
    const digest = await append(`${repository}:${tag}`, name);
    return { repository, tag, digest, ref: `${repository}@${digest}`, platforms: [] };
  }
  const parts: TestImage['platforms'][number][] = [];
  for (const platform of platforms) {
    const part = `${repository}:${tag}-${platform.replaceAll('/', '-')}`;
    await append(part, `${name} ${platform}`);
    const digest = digestOf(await crane('mutate', part, '--set-platform', platform, '-t', part));
    parts.push({ platform, digest, ref: `${repository}@${digest}` });
  }
  const manifests = parts.flatMap(({ ref }) => ['-m', ref]);
  const digest = digestOf(await crane('index', 'append', ...manifests, '-t', `${repository}:${tag}`));
  return { repository, tag, digest, ref: `${repository}@${digest}`, platforms: parts };
}

/** A tar archive (ustar) of one small file. */
function tar(name: string, content: string): Buffer {
  const header = Buffer.alloc(512);
  const size = Buffer.byteLength(content);
  const fields: [number, string][] = [
    [0, name],
    [100, '0000644\0'],
    [108, '0000000\0'],
    [116, '0000000\0'],
    [124, `${size.toString(8).padStart(11, '0')}\0`],
    [136, '00000000000\0'],
    [148, '        '],
    [156, '0'],
    [257, 'ustar\x0000'],
  ];
  for (const [offset, text] of fields) header.write(text, offset, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  const body = Buffer.alloc(Math.ceil(size / 512) * 512);
  body.write(content);
  return Buffer.concat([header, body, Buffer.alloc(1024)]);
}

function fail(message: string): never {
  throw new Error(message);
}
