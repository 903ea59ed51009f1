import { SignRequestSchema } from '../../src/gen/countersign/v1/signing_pb.ts';
import { besideFirstCore, coresMissing, onFirstCore } from './cores.ts';
import { cosignLibrary, type LibraryFigures } from './cosign-library.ts';
import type { LoadReport } from './generate-load.ts';
import { type MeasuredRegistry, withMeasuredRegistry } from './measured-registry.ts';
import { inMs, messageBytes } from './peer-bench.ts';
import { absentOf, type PushBench, withPushBench } from './push-bench.ts';
import { atLeast, type Row, unmeasured } from './row.ts';

const name = 'signatures pushed a second, one process on one core';
const bar = '>= 5';
const lanes = 16;
const rounds = 3;
/** cosign reads the whole list of what refers to an image after each push, so that its signatures go to many. */
const imagesOfLibrary = 100;

type Round = {
  readonly ours: LoadReport;
  readonly library: LibraryFigures;
  /** HTTP requests a signature, warm-up included. */
  readonly requests: { readonly ours: number; readonly library: number };
};

/** The whole service against cosign used as a Go library, each alone on one core; registry and load on the others. */
export const libraryRows = async (seconds: number): Promise<readonly Row[]> => {
  const missing = absentOf('cosign-library', 'cosign-3.1.1') ?? (await coresMissing());
  if (missing !== undefined) return [unmeasured(name, bar, missing)];
  return besideFirstCore(() =>
    withMeasuredRegistry((registry) =>
      withPushBench(registry.host, async (bench) => {
        await onFirstCore(bench.served.process.pid);
        // Turn and turn about, so that a machine that slows down slows both.
        const measured: Round[] = [];
        for (let round = 0; round < rounds; round += 1) {
          measured.push(await measureRound(bench, registry, `round-${round}`, seconds));
        }
        const ratioOf = ({ ours, library }: Round): number => ours.perSecond / library.perSecond;
        const middle = measured.toSorted((a, b) => ratioOf(a) - ratioOf(b))[rounds >> 1];
        if (middle === undefined) throw new Error('nothing was measured');
        const unpushed = await bench.load(blobRequest, lanes, seconds);
        return [rowOf(middle, ratioOf(middle), unpushed)];
      }),
    ),
  );
};

const measureRound = async (
  { keyPair, load }: PushBench,
  { pushImages, requests }: MeasuredRegistry,
  round: string,
  seconds: number,
): Promise<Round> => {
  const theirImages = await pushImages(`library-${round}`, imagesOfLibrary);
  const [image = ''] = await pushImages(`ours-${round}`, 1);
  const request = messageBytes(SignRequestSchema, {
    subject: { kind: { case: 'image', value: image } },
    key: 'file',
    ifAbsent: false, // each call makes another signature
  });
  const [start, library, between, ours] = [
    await requests(),
    await cosignLibrary(keyPair, theirImages, lanes, seconds),
    await requests(),
    await load(request, lanes, seconds),
  ];
  return {
    ours,
    library,
    requests: {
      library: (between - start) / library.signatures,
      ours: ((await requests()) - between) / (ours.calls + ours.warmupCalls),
    },
  };
};

const blobRequest = messageBytes(SignRequestSchema, {
  subject: { kind: { case: 'blob', value: { name: 'bench', content: Buffer.alloc(200, 'x') } } },
  key: 'file',
});

const rowOf = ({ ours, library, requests }: Round, ratio: number, unpushed: LoadReport): Row => {
  const cpuMs = ours.serverCpuUs / 1000;
  const busy = (perSecond: number, ms: number): string => `${((perSecond * ms) / 10).toFixed(0)} %`;
  return {
    name,
    figure: `${ours.perSecond.toFixed(0)}/s`,
    baseline: `${library.perSecond.toFixed(0)}/s by cosign as a Go library`,
    ratio,
    bar,
    holds: atLeast(ratio, 5),
    note: [
      `${lanes} in flight`,
      `CPU a signature ${inMs(cpuMs)} against ${inMs(library.cpuMs)}, HTTP requests ${requests.ours.toFixed(1)} against ${requests.library.toFixed(1)}, core busy ${busy(ours.perSecond, cpuMs)} against ${busy(library.perSecond, library.cpuMs)}`,
      `of ours ${inMs(unpushed.serverCpuUs / 1000)} is a whole call that pushes nothing (gRPC, token, policy, two durable audit records, signature and its verification), and the library does none of that but the signature`,
    ].join('; '),
  };
};
