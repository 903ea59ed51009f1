import type { Context } from '../model/context.ts';
import { type Digest, isDigest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { platformOf } from '../registry/nested.ts';
import { absent, maxDepth, maxManifests, tooLarge } from './gather.ts';
import { parseManifest, type Source } from './source.ts';

/** The manifest of one platform (`os/arch[/variant]`) below an index. Throws `not_found`, reason `PLATFORM_NOT_FOUND`, that names those that there are. */
export const findPlatform = async (
  source: Source,
  digest: Digest,
  platform: string,
  context: Context,
): Promise<Digest> => {
  const found = new Map<string, Digest>();
  const seen = new Set<Digest>();
  const look = async (at: Digest, depth: number): Promise<void> => {
    if (depth > maxDepth || seen.size > maxManifests) throw tooLarge(`its index is too deep or too long`);
    if (seen.has(at)) return;
    seen.add(at);
    const stored = await source.manifest(at, context);
    if (stored === undefined) throw absent(source, at);
    const manifest = parseManifest(stored, source);
    if (!('index' in manifest)) return;
    for (const entry of manifest.index.manifests ?? []) {
      const name = platformOf(entry['platform']);
      if (name !== undefined && isDigest(entry.digest) && !found.has(name)) found.set(name, entry.digest);
      else if (name === undefined && isDigest(entry.digest) && /index|list/.test(entry.mediaType))
        await look(entry.digest, depth + 1);
    }
  };
  await look(digest, 0);
  const chosen = found.get(platform) ?? [...found].find(([name]) => name.startsWith(`${platform}/`))?.[1];
  if (chosen !== undefined) return chosen;
  const names = [...found.keys()].filter((name) => name !== 'unknown/unknown').slice(0, 50);
  const has = names.length === 0 ? 'it is no index of platforms' : `it has ${names.join(', ')}`;
  throw new CountersignError('not_found', 'PLATFORM_NOT_FOUND', `The image has no platform ${platform}: ${has}.`);
};
