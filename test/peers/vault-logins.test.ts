// The ways into a real Vault that need somebody else's word: a Kubernetes API server that reviews tokens (AppRole, JWT and
// tokens are in vault-keys.test.ts). The API server is a small one of our own: Vault asks it as it asks a real one.
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign as signRaw } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
import { keySettings } from '../../src/keys/settings.ts';
import { verifySignature } from '../../src/keys/verify-signature.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { skipWithout, temporaryFolder } from './peer.ts';
import { startVault, type Vault } from './vault.ts';

const message = { kind: 'message', message: Buffer.from('to be signed') } as const;
const account = { namespace: 'signing', name: 'countersign', uid: '0d9a6c1e-5a44-4d0e-8a5c-6f2f5a3d7b11' };

/** A service account token as Kubernetes projects it; which key signs it only the API server need know. */
const serviceAccountToken = (serial: string): string => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: 'https://kubernetes.default.svc.cluster.local',
    sub: `system:serviceaccount:${account.namespace}:${account.name}`,
    aud: ['vault'],
    iat: now,
    nbf: now,
    exp: now + 600,
    jti: serial,
    'kubernetes.io': { namespace: account.namespace, serviceaccount: { name: account.name, uid: account.uid } },
  };
  const signed = `${part({ alg: 'ES256', kid: 'cluster' })}.${part(claims)}`;
  const signature = signRaw('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
};

type Cluster = { readonly host: string; readonly reviewed: readonly string[]; good: string; stop(): Promise<void> };

/** The TokenReview endpoint of an API server: `good` is the one token that holds. */
const startCluster = async (): Promise<Cluster> => {
  const reviewed: string[] = [];
  const server = createServer(async (request, response) => {
    const review = JSON.parse(await bodyOf(request)) as { spec: { token: string } };
    reviewed.push(`${request.method} ${request.url}`);
    const holds = review.spec.token === cluster.good;
    const user = { username: `system:serviceaccount:${account.namespace}:${account.name}`, uid: account.uid };
    const status = holds
      ? { authenticated: true, user: { ...user, groups: ['system:serviceaccounts'] }, audiences: ['vault'] }
      : { authenticated: false, error: 'invalid bearer token' };
    const answer = { kind: 'TokenReview', apiVersion: 'authentication.k8s.io/v1', metadata: {}, spec: {}, status };
    response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cluster: Cluster = {
    host: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    reviewed,
    good: '',
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return cluster;
};

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
};

describe('Kubernetes login to a real Vault', { skip: skipWithout('vault') }, () => {
  let vault: Vault;
  let cluster: Cluster;
  let tokenFile: string;

  before(async () => {
    [vault, cluster] = await Promise.all([startVault(), startCluster()]);
    tokenFile = join(temporaryFolder('kubernetes'), 'token');
    await vault.createKey('cluster', 'ecdsa-p256');
    const rules = `path "transit/keys/cluster" { capabilities = ["read"] } path "transit/sign/cluster/*" { capabilities = ["update"] }`;
    await must('PUT', 'sys/policies/acl/cluster', { policy: rules });
    await must('POST', 'sys/auth/eu/k8s', { type: 'kubernetes' });
    const config = { kubernetes_host: cluster.host, token_reviewer_jwt: 'reviewer', disable_local_ca_jwt: true };
    await must('POST', 'auth/eu/k8s/config', config);
    await must('POST', 'auth/eu/k8s/role/signer', {
      bound_service_account_names: [account.name],
      bound_service_account_namespaces: [account.namespace],
      audience: 'vault',
      token_policies: ['cluster'],
      token_ttl: '1h',
    });
  });
  after(() => Promise.all([vault?.stop(), cluster?.stop()]));

  const must = async (method: string, path: string, body: unknown): Promise<void> => {
    const answer = await vault.request(method, path, body);
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  };
  const project = (serial: string): void => {
    cluster.good = serviceAccountToken(serial);
    writeFileSync(tokenFile, `${cluster.good}\n`);
  };
  const ringOf = (t: TestContext, more: object = {}): Keyring => {
    const login = { method: 'kubernetes', mount: 'eu/k8s', role: 'signer', tokenFile, ...more };
    const ring = openKeyring([
      keySettings.parse({ name: 'subject', kind: 'vault', address: vault.addr, key: 'cluster', login }),
    ]);
    t.after(() => ring.close());
    return ring;
  };

  test('the service account signs; one review serves many signatures', async (t) => {
    project('first');
    const ring = ringOf(t);
    const before = cluster.reviewed.length;
    const { signature, version } = await ring.sign('subject', message, testContext());
    assert.ok(verifySignature(version, message, signature));
    await Promise.all(Array.from({ length: 5 }, () => ring.sign('subject', message, testContext())));
    assert.deepEqual(cluster.reviewed.slice(before), ['POST /apis/authentication.k8s.io/v1/tokenreviews']);
  });

  test('a revoked Vault token is replaced with the service account token that lies in the file by then', async (t) => {
    project('old');
    const ring = ringOf(t);
    await ring.sign('subject', message, testContext());
    project('rotated');
    await must('PUT', 'sys/leases/revoke-prefix/auth/eu/k8s/login', {});
    await ring.sign('subject', message, testContext());
  });

  test('a token that the cluster does not know, a role that is not there, a file that is not there', async (t) => {
    project('good');
    writeFileSync(tokenFile, serviceAccountToken('forged'));
    const failed = async (more: object = {}) => {
      const error = await rejection(ringOf(t, more).sign('subject', message, testContext()));
      assert.equal(error.code, 'failed_precondition');
      return error;
    };
    const forged = await failed();
    assert.equal(forged.reason, 'KEY_ACCESS_DENIED');
    assert.match(
      forged.message,
      /refuses the kubernetes login at auth\/eu\/k8s: check its mount, role and credentials/,
    );
    assert.doesNotMatch(`${forged.message} ${forged.cause}`, /eyJ/);
    project('good again');
    assert.equal((await failed({ role: 'nobody' })).reason, 'KEY_ACCESS_DENIED');
    assert.equal((await failed({ mount: 'kubernetes' })).reason, 'KEY_ACCESS_DENIED');
    assert.equal((await failed({ tokenFile: `${tokenFile}.none` })).reason, 'KEY_FILE_UNREADABLE');
  });

  test('a service account of another name is refused', async (t) => {
    project('other');
    await must('POST', 'auth/eu/k8s/role/others', {
      bound_service_account_names: ['someone-else'],
      bound_service_account_namespaces: [account.namespace],
      audience: 'vault',
      token_policies: ['cluster'],
    });
    const error = await rejection(ringOf(t, { role: 'others' }).sign('subject', message, testContext()));
    assert.equal(error.reason, 'KEY_ACCESS_DENIED');
  });
});
