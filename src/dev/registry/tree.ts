import type { Digest } from '../../model/digest.ts';
import { type Descriptor, type RepositoryClient, repositoryClient } from './client.ts';

type Node = { readonly label: string; readonly children: readonly Node[] };

/**
 * What lies in some repositories, as a tree of lines: tags, the images of an index, what refers to each, and the layers of
 * signatures. Everything is asked from the registry itself.
 */
export const registryTree = async (host: string, repositories: readonly string[]): Promise<readonly string[]> => {
  const lines: string[] = [host];
  const nodes = await Promise.all(
    repositories.map(async (name) => ({ label: name, children: await tagNodes(repositoryClient(host, name)) })),
  );
  draw(nodes, '', lines);
  return lines;
};

const tagNodes = async (client: RepositoryClient): Promise<readonly Node[]> =>
  Promise.all(
    (await client.tags()).map(async (tag) => {
      const { digest, manifest } = await client.manifest(tag);
      const isSignature = /^sha256-[0-9a-f]{64}(\.|$)/.test(tag);
      const name = isSignature ? `:${tag.slice(0, 19)}...${tag.slice(71)}` : `:${tag}`;
      const inside = isSignature
        ? (manifest.layers ?? []).map((layer) => ({ label: layerLabel(layer), children: [] }))
        : await imageNodes(client, digest, manifest.manifests ?? []);
      return { label: `${name}  ${short(digest)}`, children: inside };
    }),
  );

const imageNodes = async (
  client: RepositoryClient,
  digest: Digest,
  platforms: readonly Descriptor[],
): Promise<readonly Node[]> => [
  ...(await Promise.all(
    platforms.map(async (image) => ({
      label: `${image.platform?.os}/${image.platform?.architecture}  ${short(image.digest)}`,
      children: await referrerNodes(client, image.digest),
    })),
  )),
  ...(await referrerNodes(client, digest)),
];

const referrerNodes = async (client: RepositoryClient, digest: Digest): Promise<readonly Node[]> =>
  (await client.referrers(digest)).map((referrer) => {
    const predicate = referrer.annotations?.['dev.sigstore.bundle.predicateType'];
    const what = predicate === undefined ? '' : `  ${predicate}`;
    return { label: `referrer  ${short(referrer.digest)}  Sigstore bundle${what}`, children: [] };
  });

const layerLabel = (layer: Descriptor): string => `layer  ${short(layer.digest)}  ${layer.mediaType}`;

/** Enough of a digest to tell things apart by eye. */
const short = (digest: string): string => digest.slice(0, 19);

const draw = (nodes: readonly Node[], indent: string, lines: string[]): void => {
  for (const [index, node] of nodes.entries()) {
    const last = index === nodes.length - 1;
    lines.push(`${indent}${last ? '└─' : '├─'} ${node.label}`);
    draw(node.children, `${indent}${last ? '   ' : '│  '}`, lines);
  }
};
