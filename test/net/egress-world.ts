import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, isIPv6, type Socket } from 'node:net';
import { keySource } from '../../src/callers/discovery.ts';
import { createKeyCache } from '../../src/callers/jwks.ts';
import { callerSettings } from '../../src/callers/settings.ts';
import { pushImage } from '../../src/dev/image.ts';
import { startIssuer } from '../../src/dev/issuer.ts';
import { type Context, openContext } from '../../src/model/context.ts';
import type { ResolvedImage } from '../../src/model/subject.ts';
import { createHttpClient } from '../../src/net/http.ts';
import type { Resolver } from '../../src/net/lookup.ts';
import type { Registry } from '../../src/registry/port.ts';
import { parseReference } from '../../src/registry/reference.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { startFaultRegistry } from '../registry/fault-registry.ts';
import { bundle } from '../registry/world.ts';

/** A resolver of these names alone. */
export const fakeResolver =
  (names: Readonly<Record<string, readonly string[]>>): Resolver =>
  async (hostname) => {
    const addresses = names[hostname];
    if (addresses === undefined) throw Object.assign(new Error(`${hostname} is not known`), { code: 'ENOTFOUND' });
    return addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }));
  };

/** Every address that this process tries to connect to, `address:port`, whatever does it and whether or not it is reached. */
export const watchAttempts = (): { readonly attempts: string[]; stop(): void } => {
  const attempts: string[] = [];
  const watch = (message: unknown): void => {
    const { socket } = message as { socket: Socket };
    socket.on('connectionAttempt', (address, port) => attempts.push(`${address}:${port}`));
  };
  subscribe('net.client.socket', watch);
  return { attempts, stop: () => unsubscribe('net.client.socket', watch) };
};

/**
 * A registry and an issuer at public-looking names, which the configuration names with their ports, and a trap: a listener on
 * every address of this machine. Names resolve as given.
 */
export const startEgressWorld = async (names: Readonly<Record<string, readonly string[]>>) => {
  let connections = 0;
  const trap = createTcpServer((socket) => {
    connections++;
    socket.destroy();
  });
  await new Promise<void>((done) => trap.listen(0, done));
  const trapPort = (trap.address() as AddressInfo).port;

  const server = await startFaultRegistry();
  await pushImage(server.host, 'acme/app', 'v1');
  const minter = await startIssuer({ audience: 'us' });
  const jwks = await (await fetch(`${minter.issuer}/jwks`)).text();
  let answer: { status: number; headers: Record<string, string>; body: string };
  const pages = createServer((request, response) => {
    if (request.url === '/jwks') response.end(jwks);
    else response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await new Promise<void>((done) => pages.listen(0, '127.0.0.1', done));
  const pagesPort = (pages.address() as AddressInfo).port;

  const host = `registry.example:${server.port}`;
  const issuer = `http://issuer.example:${pagesPort}`;
  const plainHttpHosts = [host, `issuer.example:${pagesPort}`];
  const http = createHttpClient({
    plainHttpHosts,
    named: () => false,
    resolve: fakeResolver({ ...names, 'registry.example': ['127.0.0.1'], 'issuer.example': ['127.0.0.1'] }),
    connectTimeoutMs: 1_000,
  });
  const open = (): Registry =>
    createRegistry({
      http: { request: http.request, close: async () => {} },
      credentials: () => ({ kind: 'basic', username: 'robot', password: 'hunter2' }),
      plainHttpHosts,
      tries: 1,
    });
  const within = (): Context => openContext('test', 5_000).context;
  const registry = open();
  const image: ResolvedImage = await registry.resolve(parseReference(`${host}/acme/app:v1`), within());
  await registry.attach(image, bundle('known'), undefined, within());

  const [settings] = callerSettings.parse({ oidc: [{ issuer, audience: 'us', allowPlainText: true }] }).oidc;
  const keys = async (): Promise<void> => {
    if (settings === undefined) throw new Error('no issuer');
    await createKeyCache(issuer, keySource(settings, http), () => performance.now()).warm(within());
  };

  const { attempts, stop } = watchAttempts();
  return {
    host,
    issuer,
    trapPort,
    registry,
    image,
    within,
    trapped: () => connections,
    /** Attempts to connect to anything but the registry and the issuer, since it was last asked. */
    strayAttempts: () =>
      attempts.splice(0).filter((one) => one !== `127.0.0.1:${server.port}` && one !== `127.0.0.1:${pagesPort}`),
    /** The trap's URL by this spelling of a host, as it goes through a header. */
    trap: (spelled: string) => Buffer.from(`https://${spelled}:${trapPort}/`).toString('latin1'),
    resolve: async (reference: string) => registry.resolve(parseReference(reference), within()),
    /** With nothing remembered. */
    attachments: async () => open().attachments(image, undefined, within()),
    /** Runs with these requests to the registry answered so. */
    answering: async <T>(path: RegExp, status: number, headers: Record<string, string>, run: () => Promise<T>) => {
      const body = '{"schemaVersion":2,"manifests":[]}';
      server.script({ path, fault: { kind: 'answer', status, headers, body } });
      return run().finally(() => server.script());
    },
    tokenRedirect: async (location: string) => {
      const challenge = { 'www-authenticate': `Bearer realm="http://${host}/token"` };
      server.script(
        { path: /^\/token/, fault: { kind: 'answer', status: 307, headers: { location } } },
        { path: /./, fault: { kind: 'answer', status: 401, headers: challenge } },
      );
      return open()
        .attachments(image, undefined, within())
        .finally(() => server.script());
    },
    keysOf: async (jwksUri: string) => {
      answer = { status: 200, headers: {}, body: JSON.stringify({ issuer, jwks_uri: jwksUri }) };
      await keys();
    },
    keysBehindRedirect: async (location: string) => {
      answer = { status: 302, headers: { location }, body: '' };
      await keys();
    },
    redirected: async (location: string) => {
      answer = { status: 302, headers: { location }, body: '' };
      const request = {
        method: 'GET',
        url: `${issuer}/`,
        headers: {},
        maxBytes: 1_000,
        followRedirects: true,
      } as const;
      return http.request(request, within());
    },
    close: async () => {
      stop();
      await http.close();
      await Promise.all([server.close(), minter.close()]);
      for (const one of [pages, trap]) one.close();
      pages.closeAllConnections();
    },
  };
};

export type EgressWorld = Awaited<ReturnType<typeof startEgressWorld>>;
