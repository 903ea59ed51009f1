// A registry in front of which something happens.
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export type Happening = {
  /** Before a request reaches the registry; a status: answered with that instead. */
  readonly before?: (method: string, path: string) => Promise<number | undefined> | number | undefined;
  /** After the registry has answered, before the client knows. */
  readonly after?: (method: string, path: string) => Promise<void> | undefined;
};

/** The host of a proxy in front of `host`. */
export const inFrontOf = async (test: TestContext, host: string, { before, after }: Happening): Promise<string> => {
  const server = createServer((incoming, outgoing) => {
    const { method = '', headers, url = '' } = incoming;
    const pass = async (): Promise<void> => {
      const status = await before?.(method, url);
      if (status !== undefined) {
        outgoing.writeHead(status).end();
        return;
      }
      const onward = request(`http://${host}${url}`, { method, headers: { ...headers, host } }, (got) => {
        void Promise.resolve(after?.(method, url)).then(() => {
          outgoing.writeHead(got.statusCode ?? 500, got.headers);
          got.pipe(outgoing);
        });
      });
      onward.on('error', () => outgoing.destroy());
      incoming.pipe(onward);
    };
    pass().catch(() => outgoing.destroy());
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  test.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
};
