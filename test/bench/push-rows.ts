import { SignRequestSchema } from '../../src/gen/countersign/v1/signing_pb.ts';
import { pushTestImage, type TestImage } from '../peers/image.ts';
import { batchRows } from './batch-rows.ts';
import { cosignSign, costOfCosign } from './cosign-process.ts';
import { crowdedRows } from './crowded-rows.ts';
import { libraryRows } from './library-rows.ts';
import { inMs, messageBytes, type PeerBench, peersMissing, signMethod, withPeerBench } from './peer-bench.ts';
import { atMost, type Row, unmeasured } from './row.ts';

const rows = [
  { key: 'file', name: 'CPU of sign and push, key file', bar: '<= 1/100', limit: 1 / 100 },
  { key: 'vault', name: 'CPU of sign and push, Vault key', bar: '<= 1/20', limit: 1 / 20 },
] as const;

/** All that has to do with signatures that are pushed. */
export const pushRows = async (seconds: number): Promise<readonly Row[]> => [
  ...(await processRows(seconds)),
  ...(await libraryRows(seconds)),
  ...(await batchRows()),
  ...(await crowdedRows()),
];

/** CPU of a signature that is pushed, against a process of cosign that signs and pushes with the same key. */
const processRows = async (seconds: number): Promise<readonly Row[]> => {
  const missing = peersMissing();
  if (missing !== undefined) return rows.map(({ name, bar }) => unmeasured(name, bar, missing));
  return withPeerBench(async (bench) => {
    const measured: Row[] = [];
    for (const row of rows) {
      const image = await pushTestImage(bench.registry, `bench/${row.key}:v1`);
      const request = messageBytes(SignRequestSchema, {
        subject: { kind: { case: 'image', value: image.ref } },
        key: row.key,
        ifAbsent: false, // each call makes another signature
      });
      const ours = await bench.load(signMethod, request, 16, seconds);
      const cosign = await cosignCost(row.key, bench, image);
      const ratio = ours.serverCpuUs / 1e6 / cosign.cpuSeconds;
      measured.push({
        name: row.name,
        figure: inMs(ours.serverCpuUs / 1000),
        baseline: `${inMs(cosign.cpuSeconds * 1000)} of a cosign sign process`,
        ratio,
        bar: row.bar,
        holds: atMost(ratio, row.limit),
        note: `${ours.perSecond.toFixed(0)} signatures/s pushed, 16 in flight`,
      });
    }
    return measured;
  });
};

/** cosign's own signatures go to an image of their own: the more there are, the more it reads. */
const cosignCost = async (key: 'file' | 'vault', { keyPair, vault, registry }: PeerBench, image: TestImage) => {
  const own = await pushTestImage(registry, `bench/cosign-${key}:v1`);
  if (own.digest === image.digest) throw new Error('the images must differ');
  return key === 'file'
    ? costOfCosign('cosign-3.1.1', [...cosignSign, keyPair.privateKey, own.ref], 5)
    : costOfCosign('cosign-3.1.3', [...cosignSign, 'hashivault://bench', own.ref], 5, vault.env);
};
