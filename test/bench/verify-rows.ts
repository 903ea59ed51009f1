import { readFileSync } from 'node:fs';
import { VerifyRequestSchema } from '../../src/gen/countersign/v1/verification_pb.ts';
import { cosignSign } from '../peers/cosign.ts';
import { pushTestImage } from '../peers/image.ts';
import { succeeded } from '../peers/peer.ts';
import { costOfCosign } from './cosign-process.ts';
import { inMs, messageBytes, peersMissing, verifyMethod, withPeerBench } from './peer-bench.ts';
import { atMost, type Row, unmeasured } from './row.ts';

const name = 'verify of a known image, wall time';
const bar = '<= 1/30';

/** Verifying one signature that cosign made, against a whole cosign verify process; one at a time. */
export const verifyRows = async (seconds: number): Promise<readonly Row[]> => {
  const missing = peersMissing();
  if (missing !== undefined) return [unmeasured(name, bar, missing)];
  return withPeerBench(async ({ registry, keyPair, load }) => {
    const image = await pushTestImage(registry, 'bench/verify:v1');
    succeeded(await cosignSign({ key: keyPair.privateKey, ref: image.ref }));
    const request = messageBytes(VerifyRequestSchema, {
      subject: { kind: { case: 'image', value: image.ref } },
      keys: [{ source: { case: 'pem', value: readFileSync(keyPair.publicKey, 'utf8') } }],
    });
    const ours = await load(verifyMethod, request, 1, seconds);
    const verify = ['verify', '--key', keyPair.publicKey, '--insecure-ignore-tlog=true', image.ref];
    const cosign = await costOfCosign('cosign-3.1.1', verify, 5);
    const ratio = ours.p50 / (cosign.wallSeconds * 1000);
    return [
      {
        name,
        figure: inMs(ours.p50),
        baseline: `${inMs(cosign.wallSeconds * 1000)} of a cosign verify process`,
        ratio,
        bar,
        holds: atMost(ratio, 1 / 30),
        note: `server CPU a call ${ours.serverCpuUs.toFixed(0)} us`,
      },
    ];
  });
};
