// TLS certificate login to a real Vault, over listeners of its own that ask for certificates.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { openKeyring } from '../../src/keys/keyring.ts';
import { keySettings } from '../../src/keys/settings.ts';
import { makeCertificates, type Pair } from '../certificates.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { skipWithout, temporaryFolder } from './peer.ts';
import { startVaultWithTls, type TlsAddresses, type Vault } from './vault.ts';

const message = { kind: 'message', message: Buffer.from('to be signed') } as const;

describe('TLS certificate login to a real Vault', { skip: skipWithout('vault') }, () => {
  let vault: Vault & { readonly tls: TlsAddresses };
  const certificates = makeCertificates();
  const folder = temporaryFolder('cert');
  const caFile = join(folder, 'ca.pem');
  const login = {
    method: 'cert',
    mount: 'tls/clients',
    certFile: join(folder, 'client.crt'),
    keyFile: join(folder, 'client.key'),
  };

  const must = async (method: string, path: string, body: unknown): Promise<void> => {
    const answer = await vault.request(method, path, body);
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  };
  const show = (pair: Pair): void => {
    writeFileSync(login.certFile, pair.cert);
    writeFileSync(login.keyFile, pair.key);
  };
  const ringOf = (t: TestContext, address: string, more: object = {}) => {
    const settings = { name: 'subject', kind: 'vault', address, caFile, key: 'release', login: { ...login, ...more } };
    const ring = openKeyring([keySettings.parse(settings)]);
    t.after(() => ring.close());
    return { sign: () => ring.sign('subject', message, testContext()) };
  };
  const role = (name: string, more: object) =>
    must('POST', `auth/tls/clients/certs/${name}`, {
      certificate: certificates.ca,
      token_policies: 'release',
      ...more,
    });

  before(async () => {
    vault = await startVaultWithTls(certificates);
    writeFileSync(caFile, certificates.ca);
    await vault.createKey('release', 'ecdsa-p256');
    const rules =
      'path "transit/keys/release" { capabilities = ["read"] } path "transit/sign/release/sha2-256" { capabilities = ["update"] }';
    await must('PUT', 'sys/policies/acl/release', { policy: rules });
    await must('POST', 'sys/auth/tls/clients', { type: 'cert' });
    await role('signer', { allowed_common_names: 'client', token_ttl: '1h' });
    await role('server', { allowed_common_names: 'server', token_ttl: '1h' });
    await role('brief', { allowed_common_names: 'client', token_ttl: '2s', token_max_ttl: '4s' });
  });
  after(() => vault?.stop());

  test('signs, with the role named and without, also where nobody gets in without a certificate', async (t) => {
    show(certificates.client);
    for (const address of [vault.tls.open, vault.tls.strict]) {
      assert.ok(await ringOf(t, address).sign());
      assert.ok(await ringOf(t, address, { name: 'signer' }).sign());
    }
  });

  test('another role, a certificate of nobody, and none of the CA', async (t) => {
    show(certificates.client);
    const other = await rejection(ringOf(t, vault.tls.open, { name: 'server' }).sign());
    assert.equal(other.reason, 'KEY_ACCESS_DENIED');
    assert.match(other.message, /cert login at auth\/tls\/clients/);
    show(certificates.stranger);
    assert.equal((await rejection(ringOf(t, vault.tls.open).sign())).reason, 'KEY_ACCESS_DENIED');
    const shut = await rejection(ringOf(t, vault.tls.strict).sign());
    assert.deepEqual([shut.code, shut.reason], ['unavailable', 'KEY_UNAVAILABLE']);
    show(certificates.client);
    assert.equal((await rejection(ringOf(t, vault.tls.open, { mount: 'cert' }).sign())).reason, 'KEY_ACCESS_DENIED');
  });

  test('a revoked token is replaced with the certificate that lies in the files by then', async (t) => {
    show(certificates.client);
    const ring = ringOf(t, vault.tls.strict);
    await ring.sign();
    show(certificates.server);
    await must('PUT', 'sys/leases/revoke-prefix/auth/tls/clients/login', {});
    assert.ok(await ring.sign());
    show(certificates.stranger);
    await must('PUT', 'sys/leases/revoke-prefix/auth/tls/clients/login', {});
    await rejection(ring.sign());
  });

  test('tokens that live two seconds, four at most, are renewed and replaced', async (t) => {
    show(certificates.client);
    const ring = ringOf(t, vault.tls.open, { name: 'brief' });
    const until = performance.now() + 6_000;
    while (performance.now() < until) {
      assert.ok(await ring.sign());
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
});
