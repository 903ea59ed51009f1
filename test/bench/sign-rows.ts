import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { SignRequestSchema } from '../../src/gen/countersign/v1/signing_pb.ts';
import { generateLoad, type LoadReport } from './generate-load.ts';
import { startMeasured } from './process.ts';
import { atLeast, atMost, type Row } from './row.ts';
import { startServed, writeLocalKey } from './served.ts';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';

const content = Buffer.alloc(200, 'x');

/** Signing without a push against a bare gRPC server that only signs and verifies; cold start and idle memory besides. */
export const signRows = async (seconds: number): Promise<readonly Row[]> => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-key-'));
  const keys = [{ name: 'bench', kind: 'local', file: writeLocalKey(folder) }];
  // Once for nothing: it fills the compile cache, as the first start on a machine does.
  await (await startServed({ keys, plainHttpHosts: [] })).stop();
  const served = await startServed({ keys, plainHttpHosts: [] });
  const bare = startMeasured([join(import.meta.dirname, 'bare-server.ts')]);
  try {
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const idleMB = served.process.residentMB();
    const { grpc: target } = JSON.parse(await bare.firstLine()) as { grpc: string };
    const requestFile = join(served.folder, 'request');
    const bareFile = join(served.folder, 'bare');
    const request = create(SignRequestSchema, {
      subject: { kind: { case: 'blob', value: { name: 'bench', content } } },
      key: 'bench',
    });
    writeFileSync(requestFile, toBinary(SignRequestSchema, request));
    writeFileSync(bareFile, content);
    const ours = { target: served.grpc, path: '/countersign.v1.SigningService/Sign', requestFile, token: served.token };
    const theirs = { target, path: '/bench.Bare/Sign', requestFile: bareFile, token: '' };

    // Turn and turn about, so that a machine that slows down slows both.
    const rounds = 3;
    const figures: { ours: LoadReport; theirs: LoadReport }[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const order = { inFlight: 192, warmupSeconds: round === 0 ? seconds : 0.5, seconds };
      figures.push({
        theirs: await generateLoad({ ...theirs, ...order }, bare),
        ours: await generateLoad({ ...ours, ...order }, served.process),
      });
    }
    figures.sort((a, b) => a.ours.perSecond / a.theirs.perSecond - b.ours.perSecond / b.theirs.perSecond);
    const median = figures[Math.floor(rounds / 2)];
    if (median === undefined) throw new Error('nothing was measured');
    const ratio = median.ours.perSecond / median.theirs.perSecond;
    return [
      {
        name: 'sign without push, gRPC, 192 in flight',
        figure: `${median.ours.perSecond.toFixed(0)}/s`,
        baseline: `${median.theirs.perSecond.toFixed(0)}/s bare grpc-js, one signature and its verification`,
        ratio,
        bar: '>= 0.7',
        holds: atLeast(ratio, 0.7),
        note: `server CPU a call ${median.ours.serverCpuUs.toFixed(0)} us, bare ${median.theirs.serverCpuUs.toFixed(0)} us; p50 ${median.ours.p50.toFixed(2)} ms, p99 ${median.ours.p99.toFixed(2)} ms`,
      },
      {
        name: 'cold start to ready',
        figure: `${served.startSeconds.toFixed(2)} s`,
        baseline: '0.8 s',
        ratio: served.startSeconds / 0.8,
        bar: '< 0.8 s',
        holds: atMost(served.startSeconds, 0.8),
        note: 'from the start of the process until /readyz answers 200, compile cache filled, metrics on',
      },
      {
        name: 'idle memory',
        figure: `${idleMB.toFixed(0)} MB`,
        baseline: '150 MB',
        ratio: idleMB / 150,
        bar: '< 150 MB',
        holds: atMost(idleMB, 150),
        note: 'resident, 3 s after the start',
      },
    ];
  } finally {
    await bare.stop();
    await served.stop();
  }
};
