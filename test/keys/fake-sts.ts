// A scripted AWS STS: AssumeRole in the query protocol, answers in XML (API reference of STS), and every fault on demand.
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

type StsFault =
  | { readonly code: string; readonly status: number; readonly message?: string }
  | ((response: ServerResponse) => void);

export type FakeSts = {
  readonly endpoint: string;
  /** The parameters of every call so far, in order. */
  readonly calls: readonly Readonly<Record<string, string>>[];
  /** Access key ids that the requests were signed with, in order. */
  readonly signedBy: readonly string[];
  /** Fails calls, so many times. */
  fail(fault: StsFault, times?: number): void;
  /** How long the credentials last that it gives from now on: milliseconds. Default: an hour. */
  lasting(ms: number): void;
  /** Once is enough, twice is fine. */
  close(): Promise<void>;
};

const namespace = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"';

export const startFakeSts = async (): Promise<FakeSts> => {
  const calls: Readonly<Record<string, string>>[] = [];
  const signedBy: string[] = [];
  let faults: { readonly fault: StsFault; times: number }[] = [];
  let lastingMs = 3_600_000;

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    calls.push(Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString())));
    signedBy.push(/Credential=([^/]+)/.exec(request.headers.authorization ?? '')?.[1] ?? '');
    const entry = faults.find(({ times }) => times > 0);
    if (entry !== undefined) {
      entry.times -= 1;
      if (typeof entry.fault === 'function') return entry.fault(response);
      const { code, status, message = '' } = entry.fault;
      const error = `<Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error>`;
      response.writeHead(status, { 'content-type': 'text/xml', 'x-amzn-requestid': 'r-1' });
      return response.end(`<ErrorResponse ${namespace}>${error}<RequestId>r-1</RequestId></ErrorResponse>`);
    }
    const credentials =
      `<AccessKeyId>ASIAROLE${calls.length}</AccessKeyId><SecretAccessKey>role-secret-${calls.length}</SecretAccessKey>` +
      `<SessionToken>role-token-${calls.length}</SessionToken>` +
      `<Expiration>${new Date(Date.now() + lastingMs).toISOString()}</Expiration>`;
    response.writeHead(200, { 'content-type': 'text/xml' });
    return response.end(
      `<AssumeRoleResponse ${namespace}><AssumeRoleResult><Credentials>${credentials}</Credentials></AssumeRoleResult></AssumeRoleResponse>`,
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    signedBy,
    fail: (fault, times = Number.POSITIVE_INFINITY) => {
      faults = [{ fault, times }, ...faults];
    },
    lasting: (ms) => {
      lastingMs = ms;
    },
    close: async () => {
      if (!server.listening) return;
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
};
