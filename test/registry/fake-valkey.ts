import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

/** An answer as it goes over the wire, `silence`, or `end` of the connection. */
export type Answer = `${'+' | '-' | ':' | '$'}${string}` | 'silence' | 'end';

export type FakeValkey = {
  readonly port: number;
  readonly url: string;
  /** Every command, by connection. */
  readonly seen: string[][][];
  /** Decides on every command from now on. Default: OK to AUTH, 1 to everything else. */
  answer(how: (command: readonly string[], connection: number) => Answer): void;
  close(): Promise<void>;
};

const usual = ([name = '']: readonly string[]): Answer => (name === 'AUTH' || name === 'SELECT' ? '+OK' : ':1');

/** Speaks just enough RESP to misbehave; what a real server does, test/peers/lease.test.ts has. */
export const startFakeValkey = async (): Promise<FakeValkey> => {
  const seen: string[][][] = [];
  const sockets = new Set<Socket>();
  let decide: (command: readonly string[], connection: number) => Answer = usual;
  const server = createServer((socket) => {
    const mine: string[][] = [];
    const connection = seen.push(mine) - 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      for (let parsed = parse(text); parsed !== undefined; parsed = parse(text)) {
        text = parsed.rest;
        mine.push(parsed.command);
        const answer = decide(parsed.command, connection);
        if (answer === 'end') socket.destroy();
        else if (answer !== 'silence') socket.write(`${answer}\r\n`);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    seen,
    answer: (how) => {
      decide = how;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
};

/** The first whole command: an array of bulk strings. */
const parse = (text: string): { readonly command: string[]; readonly rest: string } | undefined => {
  const head = /^\*(\d+)\r\n/.exec(text);
  if (head === null) return undefined;
  let rest = text.slice(head[0].length);
  const command: string[] = [];
  for (let left = Number(head[1]); left > 0; left--) {
    const size = /^\$(\d+)\r\n/.exec(rest);
    if (size === null) return undefined;
    const end = size[0].length + Number(size[1]);
    if (rest.length < end + 2) return undefined;
    command.push(rest.slice(size[0].length, end));
    rest = rest.slice(end + 2);
  }
  return { command, rest };
};
