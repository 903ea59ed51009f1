// A real Valkey on loopback: in memory, nothing is kept when it ends.
import { once } from 'node:events';
import { connect } from 'node:net';
import { temporaryFolder } from './peer.ts';
import { type Running, startPeer } from './process.ts';

export interface Valkey extends Running {
  readonly url: string;
  /** Inline commands that are answered in one line each, as the user `default` -> the answer to the last. */
  ask(...commands: string[]): Promise<string>;
  /** Ends it at once, as a crash does. */
  crash(): Promise<void>;
}

export interface ValkeyOptions {
  /** Of the user `default`. */
  readonly password?: string;
  /** Default: a free one. */
  readonly port?: number;
}

export async function startValkey(options: ValkeyOptions = {}): Promise<Valkey> {
  const { password } = options;
  const folder = temporaryFolder('valkey');
  const running = await startPeer('valkey', {
    args: (port) => [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'],
      ...(password === undefined ? [] : ['--requirepass', password]),
    ],
    ready: async (port) => (await ask(port, password, ['PING']).catch(() => '')) === '+PONG',
    ...(options.port === undefined ? {} : { port: options.port }),
  });
  return {
    ...running,
    url: `redis://127.0.0.1:${running.port}`,
    ask: (...commands) => ask(running.port, password, commands),
    crash: async () => {
      process.kill(running.pid, 'SIGKILL');
      await running.stop();
    },
  };
}

async function ask(port: number, password: string | undefined, asked: readonly string[]): Promise<string> {
  const commands = password === undefined ? asked : [`AUTH ${password}`, ...asked];
  const socket = connect(port, '127.0.0.1').setTimeout(5_000, () => socket.destroy(new Error('Valkey is silent')));
  try {
    await once(socket, 'connect');
    socket.end([...commands, 'QUIT', ''].join('\r\n'));
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    return text.split('\r\n')[commands.length - 1] ?? '';
  } finally {
    socket.destroy();
  }
}
