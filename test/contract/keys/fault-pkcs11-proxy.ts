// A scripted proxy before the process that holds a PKCS#11 module. The service starts a bridge in its place, which joins the
// service's channel with this test; here the real process is started, and its lines are handed on.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Problem } from '../../../src/keys/pkcs11/protocol.ts';
import { createScript, type Fault, type FaultProxy, flood, type Leg } from './fault-script.ts';

export type Pkcs11FaultProxy = FaultProxy<Problem> & {
  /** The program to start as the process of the module. */
  readonly entry: URL;
};

type Message = Readonly<Record<string, unknown>>;

const moduleProcess = fileURLToPath(new URL('../../../src/keys/pkcs11/process.ts', import.meta.url));

const legs: Readonly<Record<string, Leg>> = { sign: 'sign', find: 'open' };

/** Calls back with each line, its end included. */
const onLines = (stream: Duplex, take: (line: Buffer) => void): void => {
  let begun = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    begun = Buffer.concat([begun, chunk]);
    for (let end = begun.indexOf('\n'); end !== -1; end = begun.indexOf('\n')) {
      take(begun.subarray(0, end + 1));
      begun = begun.subarray(end + 1);
    }
  });
};

const bridge = (port: number): string => `
  import { connect, Socket } from 'node:net';
  const service = new Socket({ fd: 3, readable: true, writable: true });
  const test = connect(${port}, '127.0.0.1');
  const end = () => process.exit(0);
  for (const socket of [service, test]) socket.on('error', end).on('close', end);
  service.pipe(test).pipe(service);
`;

/** `folder` is for programs that it writes; `env` is what the module needs of the environment. */
export const startPkcs11Proxy = async (
  folder: string,
  env: Readonly<Record<string, string>>,
): Promise<Pkcs11FaultProxy> => {
  const script = createScript<Problem>();
  const children = new Set<ChildProcess>();
  const hanging = new Set<Socket>();
  let failure: unknown;

  /** What becomes of a line of answers, one of which has met a fault. */
  const meet = (service: Socket, line: Buffer, id: unknown, fault: Fault<Problem>): void => {
    const middle = line.subarray(0, Math.floor(line.length / 2));
    const replaced = (change: (message: Message) => unknown): string =>
      `${JSON.stringify((JSON.parse(line.toString()) as Message[]).map((each) => (each['id'] === id ? change(each) : each)))}\n`;
    switch (fault.kind) {
      case 'delay':
        return void setTimeout(() => service.write(line), fault.ms).unref();
      case 'cut':
        return void service.write(middle, () => service.resetAndDestroy());
      case 'half':
        return void service.end(line.subarray(0, -1));
      case 'stall':
        hanging.add(service);
        return void service.write(middle);
      case 'flood':
        return void flood(service).catch((caught: unknown) => {
          failure ??= caught;
        });
      case 'refusal':
        return void service.write(replaced(() => ({ id, problem: fault.refusal })));
      case 'rewrite':
        return void service.write(replaced(({ ok }) => ({ id, ...(fault.change({ ok }) as object) })));
      case 'garble':
        return void service.write(Buffer.concat([fault.change(line.subarray(0, -1)), Buffer.from('\n')]));
      default:
    }
  };

  const onBridge = (service: Socket): void => {
    const child = spawn(process.execPath, ['--no-warnings', moduleProcess], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
    });
    const module = child.stdio[3] as Duplex;
    const met = new Map<unknown, Fault<Problem>>();
    children.add(child);
    child.on('exit', () => {
      children.delete(child);
      service.end();
    });
    module.on('error', () => undefined);
    service.setNoDelay(true);
    service.on('error', () => undefined).on('close', () => module.end());
    onLines(service, (line) => {
      for (const message of JSON.parse(line.toString()) as Message[]) {
        const fault = script.next(legs[String(message['op'])]);
        if (fault?.kind === 'reset') return void service.resetAndDestroy();
        if (fault !== undefined) met.set(message['id'], fault);
      }
      module.write(line);
    });
    onLines(module, (line) => {
      const message = (JSON.parse(line.toString()) as Message[]).find(({ id }) => met.has(id));
      if (message === undefined) return void service.write(line);
      const { id } = message;
      const fault = met.get(id);
      met.delete(id);
      if (fault !== undefined) meet(service, line, id, fault);
    });
  };

  const server = createServer(onBridge);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const file = join(folder, `bridge-${port}.mjs`);
  writeFileSync(file, bridge(port));

  return {
    entry: pathToFileURL(file),
    inject: script.inject,
    count: script.count,
    followed: () => 0,
    heal: () => {
      script.clear();
      for (const service of hanging) service.destroy();
      hanging.clear();
    },
    close: async () => {
      for (const child of children) child.kill('SIGKILL');
      server.close();
      await once(server, 'close');
      if (failure !== undefined) throw failure;
    },
  };
};
