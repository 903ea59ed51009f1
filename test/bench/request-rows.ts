import { pushImage } from '../../src/dev/image.ts';
import { startRegistry } from '../../src/dev/registry.ts';
import { type Signed, startServiceWorld } from '../service-world.ts';
import { atMost, type Row } from './row.ts';

const calls = 20;

/** HTTP requests that a pushed signature costs in the steady state; counted, so one run is enough. */
export const requestRows = async (): Promise<readonly Row[]> => {
  const registry = await startRegistry();
  const world = await startServiceWorld({
    keys: [{ name: 'bench', kind: 'local', generate: 'ecdsa-p256-sha256' }],
    plainHttpHosts: [registry.host],
  });
  try {
    const { digest } = await pushImage(registry.host, 'bench/app', 'v1');
    const request = { subject: { image: `${registry.host}/bench/app@${digest}` }, key: 'bench' };
    await world.ok('/v1/sign', request);
    // Each with an annotation of its own: an equal signature that is there would be the answer.
    const requestsOf = async (name: string, more: object): Promise<number> => {
      const before = registry.requests.length;
      for (let call = 0; call < calls; call += 1) {
        const annotations = { call: `${name}-${call}` };
        const { outputs } = await world.ok<Signed>('/v1/sign', { ...request, annotations, ...more });
        if (outputs.some(({ existing }) => existing)) throw new Error('nothing was pushed');
      }
      return (registry.requests.length - before) / calls;
    };
    const requests = await requestsOf('looked-for', {});
    const unlooked = await requestsOf('not-looked-for', { ifAbsent: false });
    return [
      {
        name: 'HTTP requests of sign and push',
        figure: requests.toFixed(2),
        baseline: '14 to 18 of a cosign sign process',
        ratio: requests,
        bar: '<= 3',
        holds: atMost(requests, 3),
        note: `bundle as referrer, image by digest, after the first one; ${unlooked.toFixed(2)} when no equal one is looked for (if_absent: false)`,
      },
    ];
  } finally {
    await world.stop();
    await registry.close();
  }
};
