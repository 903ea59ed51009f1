import { create } from '@bufbuild/protobuf';
import { SigningService, SignBatchRequestSchema } from '../../src/gen/countersign/v1/signing_pb.ts';
import { cosignSign, costOfCosign } from './cosign-process.ts';
import { withMeasuredRegistry } from './measured-registry.ts';
import { inMs } from './peer-bench.ts';
import { absentOf, type PushBench, withPushBench } from './push-bench.ts';
import { atLeast, type Row, unmeasured } from './row.ts';

const size = 500;
const processes = 20;
const name = `a batch of ${size} images, signed and pushed`;
const bar = '>= 100';

/** One SignBatch against as many processes of cosign, one after the other; of those some are run, and the sum is scaled. */
export const batchRows = async (): Promise<readonly Row[]> => {
  const missing = absentOf('cosign-3.1.1');
  if (missing !== undefined) return [unmeasured(name, bar, missing)];
  return withMeasuredRegistry((registry) =>
    withPushBench(registry.host, async (bench) => {
      await signBatch(bench, await registry.pushImages('warm', size));
      const images = await registry.pushImages('batch', size);
      const before = { cpu: bench.served.process.cpuSeconds(), requests: await registry.requests() };
      const seconds = await signBatch(bench, images);
      const cpuMs = ((bench.served.process.cpuSeconds() - before.cpu) / size) * 1000;
      const requests = ((await registry.requests()) - before.requests) / size;

      const theirImages = await registry.pushImages('cosign', processes + 1);
      const cosign = await costOfCosign(
        'cosign-3.1.1',
        (round) => [...cosignSign, bench.keyPair.privateKey, theirImages[round] ?? ''],
        processes,
      );
      const theirs = cosign.wallSeconds * size;
      return [
        {
          name,
          figure: `${seconds.toFixed(2)} s`,
          baseline: `${theirs.toFixed(0)} s of ${size} cosign sign processes`,
          ratio: theirs / seconds,
          bar,
          holds: atLeast(theirs / seconds, 100),
          note: `each image new to the service, an equal signature looked for first: ${inMs(cpuMs)} of CPU and ${requests.toFixed(1)} HTTP requests an item; cosign: median of ${processes} processes with a key file, ${cosign.wallSeconds.toFixed(3)} s each, times ${size}`,
        },
      ];
    }),
  );
};

/** Seconds until the last answer; throws unless every item was signed anew. */
const signBatch = async ({ client }: PushBench, refs: readonly string[]): Promise<number> => {
  const request = create(SignBatchRequestSchema, {
    items: refs.map((value, index) => ({
      reference: String(index),
      request: { case: 'sign' as const, value: { subject: { kind: { case: 'image' as const, value } }, key: 'file' } },
    })),
  });
  const started = performance.now();
  let signed = 0;
  for await (const { outcome } of client.stream(SigningService.method.signBatch, request)) {
    if (outcome.case !== 'signed') throw new Error(`an item was not signed: ${JSON.stringify(outcome.value)}`);
    if (outcome.value.outputs.some(({ existing }) => existing)) throw new Error('an item was there already');
    signed += 1;
  }
  if (signed !== refs.length) throw new Error(`${signed} of ${refs.length} items were answered`);
  return (performance.now() - started) / 1000;
};
