// A registry at a private address, anonymous and over https, that only the policy names: asked, as long as the policy does.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { registryListener } from '../../src/dev/registry.ts';
import { selfSigned } from '../certificates.ts';
import { startServiceWorld } from '../service-world.ts';

test('a private registry is named by a rule of the policy in force, and not by a pattern that fits it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'policy-named-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const pair = selfSigned();
  const { listener, requests } = registryListener({});
  const server = createServer(pair, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const ca = join(folder, 'ca.pem');
  writeFileSync(ca, pair.cert);

  const world = await startServiceWorld({
    keys: [{ name: 'ours', kind: 'local', generate: 'ecdsa-p256-sha256' }],
    plainHttpHosts: [],
    settings: { outbound: { caFiles: [ca] } },
  });
  t.after(() => world.stop());
  const rules = (repositories: string): string =>
    JSON.stringify({
      rules: [
        {
          name: 'sign',
          caller: { issuer: world.issuer.issuer, claims: { repository_id: '456789' } },
          verbs: ['sign'],
          keys: ['ours'],
          repositories: [repositories],
          formats: ['bundle'],
        },
      ],
    });
  const reason = async (): Promise<string> => {
    const subject = { image: `${host}/acme/app:v1` };
    const { body } = await world.call<{ reason: string }>('/v1/sign', {
      subject,
      key: 'ours',
      formats: ['FORMAT_BUNDLE'],
    });
    return body.reason;
  };
  assert.equal(await reason(), 'EGRESS_DENIED', 'a pattern for everything names nothing');
  assert.equal(requests.length, 0);
  writeFileSync(join(world.folder, 'policy.yaml'), rules(`${host}/acme/*`));
  await world.service.reload();
  assert.equal(await reason(), 'IMAGE_NOT_FOUND');
  assert.ok(requests.length > 0);
  writeFileSync(join(world.folder, 'policy.yaml'), rules('127.0.0.1*/acme/*'));
  await world.service.reload();
  // A new connection is judged anew.
  server.closeAllConnections();
  assert.equal(await reason(), 'EGRESS_DENIED');
});
