// Peer programs that serve: started on a free loopback port, waited for, and never left behind.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { isolated, peerPath, requirePeers, type PeerName } from './peer.ts';

export interface Running {
  readonly port: number;
  readonly pid: number;
  /** The last of what it printed. */
  output(): string;
  /** Ends it: SIGTERM, and SIGKILL after three seconds. Ending it twice is fine. */
  stop(): Promise<void>;
}

export interface Service {
  readonly args: (port: number) => readonly string[];
  readonly ready: (port: number) => Promise<boolean>;
  /** A function where the port is told by the environment. */
  readonly env?: Readonly<Record<string, string>> | ((port: number) => Readonly<Record<string, string>>);
  readonly timeoutMs?: number;
  /** Default: a free one. */
  readonly port?: number;
}

/** Starts a peer and waits until it is ready. Another program may take the free port first: then once more. */
export async function startPeer(name: PeerName, service: Service): Promise<Running> {
  requirePeers(name);
  for (let attempt = 1; ; attempt++) {
    const port = service.port ?? (await freePort());
    const env = typeof service.env === 'function' ? service.env(port) : service.env;
    const running = launch(name, service.args(port), port, env);
    const trouble = await readiness(running, () => service.ready(port), service.timeoutMs ?? 20_000);
    if (trouble === undefined) return running;
    await running.stop();
    if (attempt === 3 || !/address already in use/.test(running.output())) {
      throw new Error(`${name} ${trouble}\n${running.output()}`);
    }
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Whether a GET is answered with this status within a second. */
export async function answers(url: string, status: number, headers: Record<string, string> = {}): Promise<boolean> {
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(1000) });
    await response.arrayBuffer();
    return response.status === status;
  } catch {
    return false;
  }
}

interface Launched extends Running {
  ended(): string | undefined;
}

const living = new Set<ChildProcess>();

function launch(
  name: PeerName,
  args: readonly string[],
  port: number,
  env?: Readonly<Record<string, string>>,
): Launched {
  const path = peerPath(name) ?? name;
  const child = spawn(path, args, { env: isolated(env), stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let ended: string | undefined;
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-16_384);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const end = new Promise<void>((done) => {
    const finish = (why: string): void => {
      ended ??= why;
      living.delete(child);
      done();
    };
    child.on('error', (error) => finish(`could not start: ${error.message}`));
    child.on('exit', (code, signal) => finish(`ended with ${signal ?? `status ${code}`}`));
  });
  neverLeaveBehind(child);
  return {
    port,
    pid: child.pid ?? 0,
    output: () => output,
    ended: () => ended,
    stop: async () => {
      if (ended !== undefined) return;
      child.kill('SIGTERM');
      const patience = new AbortController();
      const killed = sleep(3000, undefined, { signal: patience.signal }).then(
        () => void child.kill('SIGKILL'),
        () => undefined,
      );
      await end;
      patience.abort();
      await killed;
    },
  };
}

async function readiness(
  running: Launched,
  ready: () => Promise<boolean>,
  timeoutMs: number,
): Promise<string | undefined> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    if (running.ended() !== undefined) return running.ended();
    if ((await ready()) && running.ended() === undefined) return undefined;
    await sleep(20);
  }
  return `was not ready within ${timeoutMs} ms`;
}

/** A test that forgets to stop a service still ends, and the service with it, also when a signal ends the test. */
function neverLeaveBehind(child: ChildProcess): void {
  child.unref();
  for (const stream of [child.stdout, child.stderr]) (stream as unknown as { unref(): void } | null)?.unref();
  guard();
  living.add(child);
}

let guarded = false;

function guard(): void {
  if (guarded) return;
  guarded = true;
  process.prependListener('exit', killAll); // before their folders are removed
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
}

function killAll(): void {
  for (const child of living) child.kill('SIGKILL');
}
