import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** The folder of third-party vectors: `VECTORS`, or `../shared/vectors` beside the repository. */
const vectorsRoot = resolve(process.env['VECTORS'] ?? join(import.meta.dirname, '..', '..', 'shared', 'vectors'));

/** The option `skip` of a test that reads vectors: why, when they are absent. In CI it runs, and fails. */
export const skipWithoutVectors: string | false =
  !existsSync(vectorsRoot) &&
  process.env['CI'] === undefined &&
  'absent: third-party vectors (set VECTORS to the folder that holds them)';

/** A path below the vectors; throws, naming the folder, when it is absent. */
export const vectorsPath = (...parts: readonly string[]): string => {
  const path = join(vectorsRoot, ...parts);
  if (!existsSync(path)) {
    throw new Error(`third-party vectors are absent: ${path}; set VECTORS to the folder that holds them`);
  }
  return path;
};
