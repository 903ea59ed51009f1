import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';

export const deployFolder: string = resolve(import.meta.dirname, '../../deploy');

const service = z.looseObject({
  image: z.string(),
  build: z.string().optional(),
  environment: z.record(z.string(), z.string()).default({}),
  entrypoint: z.array(z.string()).optional(),
  command: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  ports: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), z.strictObject({ condition: z.string() })).default({}),
  read_only: z.boolean().default(false),
  cap_drop: z.array(z.string()).default([]),
});
const composeFile = z.strictObject({ name: z.string(), services: z.record(z.string(), service) });

export type ComposeService = z.output<typeof service>;

/** deploy/compose.yaml, with `$$` read as Compose reads it. */
export const readCompose = (): Readonly<Record<string, ComposeService>> => {
  const text = readFileSync(join(deployFolder, 'compose.yaml'), 'utf8');
  return composeFile.parse(parse(text.replaceAll('$$', '$'))).services;
};

/** Its `volumes`, `./file:/path:ro`: files of the deploy folder, by their place in the container. */
export const mountsOf = ({ volumes }: ComposeService): ReadonlyMap<string, string> =>
  new Map(
    volumes.map((volume) => {
      const [source = '', target = '', mode] = volume.split(':');
      if (mode !== 'ro') throw new Error(`${volume} is not mounted read-only`);
      return [target, join(deployFolder, source)];
    }),
  );
