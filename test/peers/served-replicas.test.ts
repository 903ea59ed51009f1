// Two `countersign serve` processes of one configuration, as behind a load balancer: 50 callers sign one image through them at
// once, and the real cosign finds 50 signatures. With leases in a real Valkey, and without.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { credentials } from '@grpc/grpc-js';
import { stringify } from 'yaml';
import type { AuditRecord } from '../../src/audit/port.ts';
import { signImage, verifyImage } from '../../src/cli/calls.ts';
import { createServiceClient, type ServiceClient } from '../../src/cli/client.ts';
import { githubClaims, type Issuer, startIssuer } from '../../src/dev/issuer.ts';
import { audience, worldPolicy } from '../../src/dev/world-policy.ts';
import { startServe } from '../e2e/serve-process.ts';
import { cosignVerify, generateKeyPair, keyPassword } from './cosign.ts';
import { pushTestImage } from './image.ts';
import { type PeerName, requirePeers, skipWithout, temporaryFolder } from './peer.ts';
import { type Registry, startDistribution, startGgcrRegistry } from './registries.ts';
import { startValkey } from './valkey.ts';

const signers = 50;

type Replicas = {
  readonly clients: readonly ServiceClient[];
  readonly publicKey: string;
  audit(): readonly AuditRecord[];
};

/** Two processes that share the configuration, the key, the policy and the audit file. */
const startReplicas = async (t: TestContext, registry: Registry, more: object): Promise<Replicas> => {
  const folder = temporaryFolder('replicas');
  const issuer: Issuer = await startIssuer({ audience });
  t.after(() => issuer.close());
  const { privateKey, publicKey } = await generateKeyPair(folder);
  writeFileSync(join(folder, 'policy.yaml'), worldPolicy(issuer.issuer, registry.host));
  const plain = { address: '127.0.0.1:0', transport: 'plaintext' };
  const config = {
    listeners: { grpc: plain, admin: { ...plain } },
    callers: { oidc: [{ issuer: issuer.issuer, audience, allowPlainText: true }] },
    policy: { files: ['policy.yaml'] },
    keys: [{ name: 'release', kind: 'local', file: privateKey, password: '${KEY_PASSWORD}' }],
    registry: { plainHttpHosts: [registry.host], ...more },
    audit: { kind: 'file', file: 'audit.jsonl' },
  };
  const file = join(folder, 'config.yaml');
  writeFileSync(file, stringify(config, { aliasDuplicateObjects: false }));
  const bearer = issuer.mint(githubClaims({ ref: 'refs/tags/v1.0.0' }));
  const clients = await Promise.all(
    [1, 2].map(async () => {
      const replica = await startServe(file, { KEY_PASSWORD: keyPassword });
      t.after(() => replica.kill());
      const client = createServiceClient({
        authority: replica.grpc,
        credentials: credentials.createInsecure(),
        token: () => bearer,
        timeoutMs: 30_000,
      });
      t.after(() => client.close());
      return client;
    }),
  );
  const records = (): readonly AuditRecord[] =>
    readFileSync(join(folder, 'audit.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as AuditRecord);
  return { clients, publicKey, audit: records };
};

const registries: readonly { readonly label: string; readonly peer: PeerName; start(): Promise<Registry> }[] = [
  {
    label: 'ggcr without referrers',
    peer: 'ggcr-registry',
    start: () => startGgcrRegistry({ referrers: false }),
  },
  { label: 'distribution 3.1', peer: 'distribution', start: () => startDistribution() },
];

for (const { label, peer, start } of registries) {
  for (const leased of [true, false]) {
    const needed = ['cosign-3.1.1', 'crane', peer, ...(leased ? (['valkey'] as const) : [])] as const;
    const name = `${signers} callers through two processes, ${label}, ${leased ? 'with leases' : 'without leases'}`;
    test(name, { skip: skipWithout(...needed) }, async (t) => {
      requirePeers(...needed);
      const registry = await start();
      t.after(() => registry.stop());
      const valkey = leased ? await startValkey() : undefined;
      t.after(() => valkey?.stop());
      const lease = valkey === undefined ? {} : { lease: { kind: 'valkey', url: valkey.url } };
      const { clients, publicKey, audit } = await startReplicas(t, registry, lease);

      for (const format of ['simple-signing', 'bundle']) {
        const { ref } = await pushTestImage(registry, `acme/${format}:v1`);
        const wanted = Array.from({ length: signers }, (_, index) => `${format}-${index}`);
        const answers = await Promise.all(
          wanted.map((mark, index) => {
            const client = clients[index % clients.length];
            if (client === undefined) throw new Error('there are two');
            return signImage(client, { image: ref, key: 'release', formats: [format], annotations: { mark } });
          }),
        );
        assert.ok(answers.every(({ outputs }) => outputs.length > 0 && outputs.every(({ existing }) => !existing)));
        const legacy = format === 'simple-signing';
        const verified = await cosignVerify({ key: publicKey, ref, legacy });
        assert.equal(verified.code, 0, verified.stderr);
        const found = JSON.parse(verified.stdout) as readonly { readonly optional?: { readonly mark?: string } }[];
        assert.deepEqual(new Set(found.map(({ optional }) => optional?.mark)), new Set(wanted), format);
        for (const client of clients) {
          const { signatures } = await verifyImage(client, { image: ref, keys: ['release'] });
          assert.equal(signatures.filter(({ counts }) => counts).length, signers, format);
        }
      }

      const events = audit().map(({ event }) => event);
      for (const event of ['intended', 'completed']) {
        assert.equal(events.filter((one) => one === event).length, 2 * signers, event);
      }
    });
  }
}
