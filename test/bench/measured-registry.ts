import { join } from 'node:path';
import { pushImage } from '../../src/dev/image.ts';
import { type Measured, startMeasured } from './process.ts';

/** The embedded registry in a process of its own: nothing here is faster for a client that asks much. */
export type MeasuredRegistry = {
  readonly host: string;
  readonly process: Measured;
  /** HTTP requests that it has answered. */
  requests(): Promise<number>;
  /** Pushes images of one platform that all differ to `bench/<repository>`; answers with their references, by digest. */
  pushImages(repository: string, count: number): Promise<readonly string[]>;
};

export const withMeasuredRegistry = async <T>(work: (registry: MeasuredRegistry) => Promise<T>): Promise<T> => {
  const child = startMeasured([join(import.meta.dirname, 'registry-process.ts')]);
  try {
    const host = await child.firstLine();
    return await work({
      host,
      process: child,
      requests: async () => Number(await (await fetch(`http://${host}/requests`)).text()),
      pushImages: async (repository, count) => {
        const refs: string[] = [];
        for (let index = 0; index < count; index += 1) {
          const options = { platforms: ['linux/amd64'] };
          const { digest } = await pushImage(host, `bench/${repository}`, `v${index}`, options);
          refs.push(`${host}/bench/${repository}@${digest}`);
        }
        return refs;
      },
    });
  } finally {
    await child.stop();
  }
};
