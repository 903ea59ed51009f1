/*
 * The load generator, in a process of its own: sends one prepared unary call over and over and prints what it saw.
 *
 *   node test/bench/load.ts '{"target":"127.0.0.1:1","path":"/pkg.Service/Method","requestFile":"f","token":"t","inFlight":16,...}'
 */
import { readFileSync } from 'node:fs';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { openRawConnection, type RawConnection } from './raw-http2.ts';

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
  /** Calls before those, to warm the server up. */
  readonly warmupCalls: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
};

/** A connection takes at most 100 calls at once, and its window 64 KiB that the server has not read. */
const callsPerConnection = 64;

/** One call by an ordinary gRPC client: rejects with what the server says when it is refused. */
const callOnce = (order: LoadOrder, message: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    const client = new Client(order.target, credentials.createInsecure());
    const metadata = new Metadata();
    if (order.token !== '') metadata.set('authorization', `Bearer ${order.token}`);
    const same = (value: Buffer): Buffer => value;
    client.makeUnaryRequest(order.path, same, same, message, metadata, (error) => {
      client.close();
      if (error) reject(new Error(`${order.path}: ${error.code} ${error.details}`));
      else resolve();
    });
  });

const run = async (order: LoadOrder): Promise<LoadResult> => {
  const message = readFileSync(order.requestFile);
  await callOnce(order, message);
  const latencies: number[] = [];
  let errors = 0;
  let underWay = 0;
  let stopAt = 0;
  let stopped = (): void => {};
  const connections: RawConnection[] = [];
  for (let count = 0; count < order.inFlight; count += callsPerConnection) {
    const index = connections.length;
    const onEnd = (milliseconds: number, good: boolean): void => {
      latencies.push(milliseconds);
      if (!good) errors += 1;
      if (performance.now() < stopAt) connections[index]?.send();
      else if (--underWay === 0) stopped();
    };
    connections.push(await openRawConnection(order.target, { ...order, message }, onEnd));
  }
  const during = async (seconds: number): Promise<number> => {
    const start = performance.now();
    stopAt = start + seconds * 1000;
    underWay = order.inFlight;
    const done = new Promise<void>((resolve) => {
      stopped = resolve;
    });
    for (let lane = 0; lane < order.inFlight; lane += 1) connections[lane % connections.length]?.send();
    await done;
    return (performance.now() - start) / 1000;
  };
  await during(order.warmupSeconds);
  const warmupCalls = latencies.length;
  latencies.length = 0;
  process.stdout.write('warm\n');
  const seconds = await during(order.seconds);
  for (const connection of connections) connection.close();
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  const perSecond = sorted.length / seconds;
  return { calls: sorted.length, perSecond, errors, warmupCalls, p50: at(0.5), p99: at(0.99) };
};

const order = process.argv[2];
if (order === undefined) throw new Error('usage: load.ts <order as JSON>');
process.stdout.write(`${JSON.stringify(await run(JSON.parse(order) as LoadOrder))}\n`);
