// Alone in its process: the SDK finds the source of managed identities once in a process.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAllowed } from '../../src/net/egress.ts';
import { createHttpClient, type HttpClientOptions } from '../../src/net/http.ts';
import type { HttpClient } from '../../src/net/port.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { azureKey, message, ringOf, started } from './azure-world.ts';
import { clientId } from './fake-azure.ts';

test('managed identity: of the machine, at the metadata address, which only this credential may reach', async (t) => {
  const azure = await started(t);
  azure.addVersion('release');
  const asked: string[] = [];
  const createHttp = (options: HttpClientOptions): HttpClient => {
    const https = createHttpClient({ ...options, ca: [azure.ca] });
    const plain = createHttpClient({ plainHttpHosts: ['127.0.0.1'] });
    return {
      request: (request, context) => {
        const url = new URL(request.url);
        if (url.hostname !== '169.254.169.254') return https.request(request, context);
        assertAllowed(url, options);
        asked.push(`${url.pathname} ${url.searchParams.get('client_id')}`);
        return plain.request({ ...request, url: `${azure.identityEndpoint}${url.search}` }, context);
      },
      close: async () => {
        await Promise.all([https.close(), plain.close()]);
      },
    };
  };
  const key = azureKey(azure, { credential: { method: 'managed-identity', clientId } });
  // The library keeps what it was first given, also after the key that it was for did not open and was closed.
  azure.fail(
    'identity',
    { status: 400, body: { error: 'invalid_request', error_description: 'Identity not found' } },
    1,
  );
  const first = ringOf(t, [key], { createHttp });
  assert.equal((await rejection(first.describe('subject', testContext()))).reason, 'KEY_ACCESS_DENIED');
  await first.close();
  const ring = ringOf(t, [key], { createHttp });
  assert.ok(await ring.sign('subject', message, testContext()));
  assert.deepEqual([...new Set(asked)], [`/metadata/identity/oauth2/token ${clientId}`]);
  assert.equal(asked.length, 2);
});
