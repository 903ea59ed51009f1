import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { SigningService, SignBatchRequestSchema, SignRequestSchema } from '../../src/gen/countersign/v1/signing_pb.ts';
import { Format } from '../../src/gen/countersign/v1/types_pb.ts';
import { type MeasuredRegistry, withMeasuredRegistry } from './measured-registry.ts';
import { inMs } from './peer-bench.ts';
import { absentOf, type PushBench, withPushBench } from './push-bench.ts';
import { atMost, type Row, unmeasured } from './row.ts';

/** The first is not counted: the service still compiles what it does, and clears up after the batches before. */
const rounds = 5;
const counted = rounds - 1;
/** No image may carry more than 1,000. */
const addedARound = 19;

/** Signatures that an image has at first. Where it is one, each image gets one more only. */
const levels = [
  { there: 1, images: rounds * addedARound },
  { there: 100, images: 1 },
  { there: 900, images: 1 },
] as const;

/** Ways to add a signature; no two of them are equal, since each has an annotation of its own. */
const ways = {
  referrer: { what: 'referrers', format: Format.BUNDLE, ifAbsent: false },
  lookedFor: { what: 'referrers, an equal one looked for', format: Format.BUNDLE, ifAbsent: true },
  tag: { what: '.sig tag', format: Format.SIMPLE_SIGNING, ifAbsent: false },
  lookedForAtTag: { what: '.sig tag, an equal one looked for', format: Format.SIMPLE_SIGNING, ifAbsent: true },
} as const satisfies Readonly<Record<string, Way>>;
/** Where the rest goes, where the list is long. */
const notes = new Map<Way, string>([
  [
    ways.lookedFor,
    '; the registry answers with the whole list, whose entries are only counted where none can be equal',
  ],
  [
    ways.tag,
    '; the manifest lists all signatures (540 KB): it is not read while it has not changed, but hashed and sent each time, so prefer referrers',
  ],
  [
    ways.lookedForAtTag,
    '; asked for once more, before the key is used: it has not changed, and the equal are found by their marks',
  ],
]);
type Way = { readonly what: string; readonly format: Format; readonly ifAbsent: boolean };

const limit = 1.25;
const bar = `<= ${limit}`;
const nameOf = (there: number, { what }: Way): string => `CPU of one signature more, ${there} there (${what})`;

/** What one signature more costs where there are many, against where there is one. */
export const crowdedRows = async (): Promise<readonly Row[]> => {
  const missing = absentOf('cosign-3.1.1');
  if (missing !== undefined) return [unmeasured(nameOf(900, ways.referrer), bar, missing)];
  return withMeasuredRegistry((registry) =>
    withPushBench(registry.host, async (bench) => {
      const rows: Row[] = [];
      for (const way of Object.values(ways)) {
        rows.push(...rowsOf(way, await costs(bench, registry, way), notes.get(way) ?? ''));
      }
      return rows;
    }),
  );
};

type Cost = { readonly there: number; readonly cpuMs: number; readonly requests: number };

/** The levels turn and turn about, so that a machine that slows down slows all; one signature after the other. */
const costs = async (bench: PushBench, registry: MeasuredRegistry, way: Way): Promise<readonly Cost[]> => {
  const { process } = bench.served;
  const crowds: { refs: readonly string[]; there: number; cpuSeconds: number; requests: number }[] = [];
  for (const { there, images } of levels) {
    const refs = await registry.pushImages(`crowded-${Object.values<Way>(ways).indexOf(way)}-${there}`, images);
    await addInBatches(bench, refs, there, way);
    crowds.push({ refs, there, cpuSeconds: 0, requests: 0 });
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const crowd of crowds) {
      const before = { cpu: process.cpuSeconds(), requests: await registry.requests() };
      for (let index = round * addedARound; index < (round + 1) * addedARound; index += 1) {
        await addOne(bench, crowd.refs[index % crowd.refs.length] ?? '', `more-${index}`, way);
      }
      if (round === 0) continue;
      crowd.cpuSeconds += process.cpuSeconds() - before.cpu;
      crowd.requests += (await registry.requests()) - before.requests;
    }
  }
  const added = counted * addedARound;
  return crowds.map(({ there, cpuSeconds, requests }) => ({
    there,
    cpuMs: (cpuSeconds / added) * 1000,
    requests: requests / added,
  }));
};

const request = (ref: string, mark: string, { format, ifAbsent }: Way): MessageInitShape<typeof SignRequestSchema> => ({
  subject: { kind: { case: 'image', value: ref } },
  key: 'file',
  formats: [format],
  annotations: { mark },
  ifAbsent,
});

const addOne = async ({ client }: PushBench, ref: string, mark: string, way: Way): Promise<void> => {
  const { outputs } = await client.call(SigningService.method.sign, create(SignRequestSchema, request(ref, mark, way)));
  if (outputs.some(({ existing }) => existing)) throw new Error('nothing was added: an equal one was there');
};

const addInBatches = async ({ client }: PushBench, refs: readonly string[], each: number, way: Way): Promise<void> => {
  const items = refs.flatMap((ref, image) =>
    Array.from({ length: each }, (_, index) => ({
      reference: `${image}-${index}`,
      request: { case: 'sign' as const, value: request(ref, `first-${index}`, { ...way, ifAbsent: false }) },
    })),
  );
  const batch = create(SignBatchRequestSchema, { items });
  for await (const { outcome } of client.stream(SigningService.method.signBatch, batch)) {
    if (outcome.case !== 'signed') throw new Error(`an item was not signed: ${JSON.stringify(outcome.value)}`);
  }
};

const rowsOf = (way: Way, [one, ...more]: readonly Cost[], lastNote: string): readonly Row[] => {
  if (one === undefined) throw new Error('nothing was measured');
  return more.map((cost, index) => ({
    name: nameOf(cost.there, way),
    figure: inMs(cost.cpuMs),
    baseline: `${inMs(one.cpuMs)} where 1 is there`,
    ratio: cost.cpuMs / one.cpuMs,
    bar,
    holds: atMost(cost.cpuMs / one.cpuMs, limit),
    note: `${cost.requests.toFixed(2)} HTTP requests, where 1 is there ${one.requests.toFixed(2)}${index === more.length - 1 ? lastNote : ''}`,
  }));
};
