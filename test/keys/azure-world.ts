// A keyring over keys in the vault of ours, and what its tests share.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
import { type KeySettings, keySettings } from '../../src/keys/settings.ts';
import { createHttpClient, type HttpClientOptions } from '../../src/net/http.ts';
import type { HttpClient } from '../../src/net/port.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { clientId, clientSecret, type FakeAzure, type Fault, startFakeAzure, tenantId } from './fake-azure.ts';
import type { FakeKind, FakeVersion } from './fake-azure-keys.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-azure-'));
// Not a hook: that would be one of the first of the files that share this.
process.once('exit', () => rmSync(folder, { recursive: true }));
let files = 0;
export const written = (content: string): string => {
  files += 1;
  const file = join(folder, `${files}.pem`);
  writeFileSync(file, content, { mode: 0o600 });
  return file;
};

/** Nothing of the machine's environment, and none of what a test sets. */
export const isolateAzure = (): void => {
  for (const name of Object.keys(process.env)) {
    if (/^(?:AZURE_|IDENTITY_|IMDS_|MSI_)/.test(name)) delete process.env[name];
  }
};
isolateAzure();

export const message = { kind: 'message', message: Buffer.from('to be signed') } as const;
export const withSecret = { method: 'client-secret', tenantId, clientId, secret: clientSecret };

/** Settings for a key of the vault at its own address. */
export const azureKey = (azure: FakeAzure, more: object = {}): KeySettings =>
  keySettings.parse({
    name: 'subject',
    kind: 'azure',
    vaultUrl: azure.origin,
    key: 'release',
    authorityHost: azure.origin,
    disableChallengeResourceVerification: true,
    caFile: written(azure.ca),
    credential: withSecret,
    ...more,
  });

/** Sends the hosts of Azure to the vault of ours, so that settings are those of the real one. */
export const redirecting =
  (azure: FakeAzure, seen: (host: string) => void = () => undefined) =>
  (options: HttpClientOptions): HttpClient => {
    const http = createHttpClient({ ...options, ca: [azure.ca] });
    return {
      request: (request, context) => {
        const { host, pathname, search } = new URL(request.url);
        seen(host);
        const headers = { ...request.headers, 'x-test-host': host };
        return http.request({ ...request, headers, url: `${azure.origin}${pathname}${search}` }, context);
      },
      close: http.close,
    };
  };

export const started = async (t: TestContext): Promise<FakeAzure> => {
  const azure = await startFakeAzure();
  t.after(() => azure.close());
  return azure;
};
export const ringOf = (t: TestContext, keys: readonly KeySettings[], deps = {}): Keyring => {
  const ring = openKeyring(keys, deps);
  t.after(() => ring.close());
  return ring;
};
export type World = { readonly azure: FakeAzure; readonly version: FakeVersion; readonly ring: Keyring };
/** A key `release` of one version, not yet opened. */
export const opened = async (t: TestContext, kind: FakeKind = 'P-256', more: object = {}): Promise<World> => {
  const azure = await started(t);
  const version = azure.addVersion('release', kind);
  return { azure, version, ring: ringOf(t, [azureKey(azure, more)]) };
};
/** As `opened`, at a name of Azure. */
export const openedAt = async (
  t: TestContext,
  host: string,
  more: object = {},
  seen?: (host: string) => void,
): Promise<World> => {
  const azure = await started(t);
  const version = azure.addVersion('release');
  const settings = {
    name: 'subject',
    kind: 'azure',
    vaultUrl: `https://${host}`,
    key: 'release',
    credential: withSecret,
    ...more,
  };
  const ring = ringOf(t, [keySettings.parse(settings)], { createHttp: redirecting(azure, seen) });
  return { azure, version, ring };
};
export const reset: Fault = (_, response) => {
  response.destroy();
  return 'handled';
};
/** Opens the key, lets signing fail, and answers with the error and how often it was asked. */
export const failing = async (t: TestContext, fault: Parameters<FakeAzure['fail']>[1], context = testContext) => {
  const world = await opened(t);
  await world.ring.sign('subject', message, testContext());
  world.azure.fail('sign', fault);
  const before = world.azure.count('sign');
  const error = await rejection(world.ring.sign('subject', message, context()));
  return { ...world, error, calls: world.azure.count('sign') - before };
};
