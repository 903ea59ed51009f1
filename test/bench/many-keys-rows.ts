import { atMost, type Row } from './row.ts';
import { startServed, writeLocalKey } from './served.ts';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const many = 1000;

type Start = { readonly seconds: number; readonly idleMB: number };

const start = async (keys: Parameters<typeof startServed>[0]['keys']): Promise<Start> => {
  const served = await startServed({ keys, plainHttpHosts: [] });
  try {
    await new Promise((resolve) => setTimeout(resolve, 3000));
    return { seconds: served.startSeconds, idleMB: served.process.residentMB() };
  } finally {
    await served.stop();
  }
};

/** A thousand configured keys against one: what they cost at the start and in memory, unopened and all opened in the warm-up. */
export const manyKeysRows = async (): Promise<readonly Row[]> => {
  const file = writeLocalKey(mkdtempSync(join(tmpdir(), 'countersign-bench-keys-')));
  const keys = (count: number, warmUp: boolean) =>
    Array.from({ length: count }, (_, index) => ({ name: `key-${index}`, kind: 'local', file, warmUp }));
  await start(keys(1, true));
  const one = await start(keys(1, true));
  const lazy = await start(keys(many, false));
  const opened = await start(keys(many, true));
  const row = (name: string, figure: string, baseline: string, ratio: number, limit: number, note: string): Row => ({
    name,
    figure,
    baseline,
    ratio,
    bar: `<= ${limit}`,
    holds: atMost(ratio, limit),
    note,
  });
  const inSeconds = (value: number): string => `${value.toFixed(2)} s`;
  const inMB = (value: number): string => `${value.toFixed(0)} MB`;
  return [
    row(
      'memory, 1,000 configured keys',
      inMB(lazy.idleMB),
      `${inMB(one.idleMB)} with one`,
      lazy.idleMB / one.idleMB,
      1.1,
      'none opened',
    ),
    row(
      'readiness, 1,000 configured keys',
      inSeconds(lazy.seconds),
      `${inSeconds(one.seconds)} with one`,
      lazy.seconds / one.seconds,
      1.5,
      'none opened; the configuration and the policy that names them all are read',
    ),
    row(
      'readiness, 1,000 keys in the warm-up',
      inSeconds(opened.seconds),
      `${inSeconds(one.seconds)} with one`,
      opened.seconds / one.seconds,
      1.5,
      `all opened in the background; ${inMB(opened.idleMB)} then`,
    ),
  ];
};
