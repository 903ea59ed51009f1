import { randomBytes } from 'node:crypto';
import { openKeyring } from '../../src/keys/keyring.ts';
import { keySettings } from '../../src/keys/settings.ts';
import { openContext } from '../../src/model/context.ts';
import { directVault, type DirectKey } from './direct-vault.ts';
import { directPkcs11, pkcs11Missing } from './direct-pkcs11.ts';
import { inMs, peersMissing } from './peer-bench.ts';
import { atLeast, atMost, type Row, unmeasured } from './row.ts';

const addedBar = '<= 0.5 ms';
const throughputBar = '>= 0.95';
const lanes = [1, 16, 64] as const;

const rowNames = (backend: string, inFlight: number) => ({
  added: `${backend} key: latency added to calling the backend, p50, ${inFlight} in flight`,
  throughput: `${backend} key: signatures a second, ${inFlight} in flight`,
});

type Measured = { readonly perSecond: number; readonly p50: number };

/** So often at least, or a lane that waits for all others would hardly be seen. */
const leastOfALane = 4;

/** `inFlight` lanes that sign one after the other for a while. */
const measure = async (
  sign: (message: Buffer) => Promise<unknown>,
  inFlight: number,
  seconds: number,
): Promise<Measured> => {
  const message = randomBytes(200);
  const latencies: number[] = [];
  const started = performance.now();
  const end = started + seconds * 1000;
  const lane = async (): Promise<void> => {
    for (let count = 0; count < leastOfALane || performance.now() < end; count += 1) {
      const start = performance.now();
      await sign(message);
      latencies.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  const perSecond = latencies.length / ((performance.now() - started) / 1000);
  return { perSecond, p50: latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length / 2)] ?? Number.NaN };
};

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

type Figures = { readonly ours: Measured; readonly direct: Measured; readonly ratio: number };

/** The keyring against the backend called directly from this process, turn and turn about. */
const alternate = async (
  ours: (message: Buffer) => Promise<unknown>,
  direct: DirectKey,
  inFlight: number,
  seconds: number,
): Promise<Figures> => {
  await measure(ours, inFlight, seconds / 10);
  await measure(direct.sign, inFlight, seconds / 10);
  const rounds: { ours: Measured; direct: Measured }[] = [];
  for (let round = 0; round < 5; round += 1) {
    const their = await measure(direct.sign, inFlight, seconds / 10);
    rounds.push({ ours: await measure(ours, inFlight, seconds / 10), direct: their });
  }
  const middle = (pick: (each: (typeof rounds)[number]) => Measured): Measured => ({
    perSecond: median(rounds.map((each) => pick(each).perSecond)),
    p50: median(rounds.map((each) => pick(each).p50)),
  });
  return {
    ours: middle((each) => each.ours),
    direct: middle((each) => each.direct),
    ratio: median(rounds.map((each) => each.ours.perSecond / each.direct.perSecond)),
  };
};

/** `barest`: another way to call the same kind of backend, with less than a program would use; told in the notes. */
const compare = async (
  backend: string,
  direct: DirectKey,
  barest: DirectKey | undefined,
  note: string,
  seconds: number,
): Promise<readonly Row[]> => {
  const ringOf = ({ settings }: DirectKey) => openKeyring([keySettings.parse({ name: 'bench', ...settings })]);
  const rings = [ringOf(direct), ...(barest === undefined ? [] : [ringOf(barest)])];
  const through = (ring: (typeof rings)[number] | undefined) => async (message: Buffer) => {
    const owned = openContext('bench', 30_000);
    await ring?.sign('bench', { kind: 'message', message }, owned.context);
    owned.dispose();
  };
  try {
    const rows: Row[] = [];
    for (const inFlight of lanes) {
      const { ours, direct: their, ratio } = await alternate(through(rings[0]), direct, inFlight, seconds);
      const bare = barest && (await alternate(through(rings[1]), barest, inFlight, seconds));
      const names = rowNames(backend, inFlight);
      const added = ours.p50 - their.p50;
      rows.push({
        name: names.added,
        figure: inMs(added),
        baseline: `${inMs(their.p50)} by ${direct.what}`,
        ratio: added,
        bar: addedBar,
        holds: atMost(added, 0.5),
        note: bare === undefined ? '' : `${inMs(bare.ours.p50 - bare.direct.p50)} added to ${barest?.what}`,
      });
      rows.push({
        name: names.throughput,
        figure: `${ours.perSecond.toFixed(0)}/s`,
        baseline: `${their.perSecond.toFixed(0)}/s by ${direct.what}`,
        ratio,
        bar: throughputBar,
        holds: atLeast(ratio, 0.95),
        note: bare === undefined ? note : `${bare.ratio.toPrecision(3)} of ${barest?.what}${note}`,
      });
    }
    return rows;
  } finally {
    await Promise.all(rings.map((ring) => ring.close()));
    await direct.close();
    await barest?.close();
  }
};

const absent = (backend: string, why: string): readonly Row[] =>
  lanes.flatMap((inFlight) => {
    const { added, throughput } = rowNames(backend, inFlight);
    return [unmeasured(added, addedBar, why), unmeasured(throughput, throughputBar, why)];
  });

const hop =
  'SoftHSM signs P-256 in about 0.1 ms; ours runs in a process of its own, and one hop there and back is as long: seen with 1 in flight only';
const slow = 'takes as long as an HSM does, which needs 1 to 10 ms for a signature of any kind';
const pkcs11Keys = [
  { spec: 'P-256', note: hop },
  { spec: 'RSA-4096', note: slow },
] as const;

/** What the keys' contract (retry, breaker, quota, verification) costs over the backend itself. */
export const keyRows = async (seconds: number): Promise<readonly Row[]> => {
  const missing = peersMissing();
  const missingToken = pkcs11Missing();
  const rows: Row[] = [];
  if (missing !== undefined) rows.push(...absent('Vault', missing));
  else rows.push(...(await compare('Vault', await directVault('node-vault'), await directVault('http'), '', seconds)));
  for (const { spec, note } of pkcs11Keys) {
    const backend = `PKCS#11 ${spec}`;
    if (missingToken !== undefined) rows.push(...absent(backend, missingToken));
    else rows.push(...(await compare(backend, await directPkcs11(spec), undefined, note, seconds)));
  }
  return rows;
};
