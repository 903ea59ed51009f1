/*
 * The load generator, in a process of its own: sends one prepared unary request over and over and prints what it saw.
 *
 *   node test/bench/load.ts '{"target":"127.0.0.1:1","path":"/pkg.Service/Method","requestFile":"f","token":"t","inFlight":16,"seconds":5}'
 */
import { readFileSync } from 'node:fs';
import { Client, credentials, Metadata } from '@grpc/grpc-js';

export type LoadOrder = {
  readonly target: string;
  readonly path: string;
  /** A file with the serialized request. */
  readonly requestFile: string;
  readonly token: string;
  readonly inFlight: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
};

export type LoadResult = {
  readonly calls: number;
  readonly perSecond: number;
  readonly errors: number;
  readonly firstError: string;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
};

const run = async (order: LoadOrder): Promise<LoadResult> => {
  // A connection takes at most 100 calls at once.
  const clients = Array.from(
    { length: Math.ceil(order.inFlight / 64) },
    () => new Client(order.target, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 }),
  );
  const request = readFileSync(order.requestFile);
  const metadata = new Metadata();
  if (order.token !== '') metadata.set('authorization', `Bearer ${order.token}`);
  const identity = (value: Buffer): Buffer => value;
  const latencies: number[] = [];
  let errors = 0;
  let firstError = '';
  const call = (client: Client): Promise<void> =>
    new Promise((resolve) => {
      const start = performance.now();
      client.makeUnaryRequest(order.path, identity, identity, request, metadata, (error) => {
        latencies.push(performance.now() - start);
        if (error) {
          errors += 1;
          firstError ||= `${error.code} ${error.details}`;
        }
        resolve();
      });
    });
  const during = async (seconds: number): Promise<number> => {
    const start = performance.now();
    const end = start + seconds * 1000;
    const lane = async (client: Client): Promise<void> => {
      while (performance.now() < end) await call(client);
    };
    const lanes = Array.from({ length: order.inFlight }, (_, index) => clients[index % clients.length]);
    await Promise.all(lanes.map((client) => client && lane(client)));
    return (performance.now() - start) / 1000;
  };
  await during(order.warmupSeconds);
  latencies.length = 0;
  process.stdout.write('warm\n');
  const seconds = await during(order.seconds);
  for (const client of clients) client.close();
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? Number.NaN;
  return {
    calls: latencies.length,
    perSecond: latencies.length / seconds,
    errors,
    firstError,
    p50: at(0.5),
    p99: at(0.99),
  };
};

const order = process.argv[2];
if (order === undefined) throw new Error('usage: load.ts <order as JSON>');
process.stdout.write(`${JSON.stringify(await run(JSON.parse(order) as LoadOrder))}\n`);
