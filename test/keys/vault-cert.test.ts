// Logging in with a TLS client certificate.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import { makeCertificates, type Pair } from '../certificates.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { type FakeVault, startFakeVault } from './fake-vault.ts';
import { message, openedKey, renewing, signing } from './vault-world.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-vault-cert-'));
after(() => rmSync(folder, { recursive: true }));
const certLogin = /^POST auth\/tls\/clients\/login/;

const certificates = makeCertificates();
const caFile = join(folder, 'ca.pem');
writeFileSync(caFile, certificates.ca);
const login = {
  method: 'cert',
  mount: 'tls/clients',
  certFile: join(folder, 'client.crt'),
  keyFile: join(folder, 'client.key'),
  name: 'signer',
};
const show = (pair: Pair): string => {
  writeFileSync(login.certFile, pair.cert);
  writeFileSync(login.keyFile, pair.key);
  return new X509Certificate(pair.cert).fingerprint256;
};
const startedTls = async (t: TestContext): Promise<FakeVault> => {
  const vault = await startFakeVault({ ...certificates.server, ca: certificates.ca });
  t.after(() => vault.close());
  vault.createKey('release');
  return vault;
};

test('the certificate is shown on every connection, and the role is named', async (t) => {
  const fingerprint = show(certificates.client);
  const vault = await startedTls(t);
  const key = await openedKey(t, vault, { caFile, login });
  assert.ok(await key.sign(message, testContext()));
  assert.deepEqual(new Set(vault.calls.map(({ client }) => client)), new Set([fingerprint]));
  const asked = vault.calls.find(({ path }) => path === 'auth/tls/clients/login');
  assert.deepEqual(asked?.body, { name: 'signer' });
});

test('a login reads the files anew; a signature under way keeps its connection', async (t) => {
  const first = show(certificates.client);
  const vault = await startedTls(t);
  const key = await openedKey(t, vault, { caFile, login });
  let answer = (): void => assert.fail();
  vault.fail(
    signing,
    (_, response) => {
      answer = () => response.end(JSON.stringify({ data: { signature: 'vault:v1:MAYCAQECAQE=' } }));
      return 'handled';
    },
    1,
  );
  const underWay = key.sign(message, testContext());
  await vault.seen(signing);
  // Another one of the same CA, as a renewal brings it.
  const second = show(certificates.server);
  vault.revokeTokens();
  assert.ok(await key.sign(message, testContext()));
  assert.notEqual(first, second);
  assert.equal(vault.calls.at(-1)?.client, second);
  answer();
  assert.ok(await underWay);
});

test('a certificate that Vault does not accept', async (t) => {
  show(certificates.stranger);
  const vault = await startedTls(t);
  const error = await rejection(openedKey(t, vault, { caFile, login }));
  assert.equal(error.reason, 'KEY_ACCESS_DENIED');
  assert.match(error.message, /cert login at auth\/tls\/clients: check/);
});

test('a token is renewed with the certificate of its login', async (t) => {
  const first = show(certificates.client);
  const vault = await startedTls(t);
  vault.lease(1, true);
  const key = await openedKey(t, vault, { caFile, login });
  show(certificates.stranger);
  await vault.seen(renewing);
  assert.equal(vault.calls.find(({ path }) => path === 'auth/token/renew-self')?.client, first);
  assert.ok(await key.sign(message, testContext()));
  assert.equal(vault.count(certLogin), 1);
});

test('files that are not there, or do not fit each other, are named, and no key is shown', async (t) => {
  const vault = await startedTls(t);
  show(certificates.client);
  writeFileSync(login.keyFile, certificates.stranger.key);
  const unfit = await rejection(openedKey(t, vault, { caFile, login }));
  assert.deepEqual([unfit.code, unfit.reason], ['failed_precondition', 'TLS_FILE_INVALID']);
  assert.match(unfit.message, /client\.key is not the key of the certificate/);
  assert.doesNotMatch(`${unfit.message} ${unfit.cause} ${unfit.stack}`, /BEGIN/);
  const absent = { ...login, certFile: join(folder, 'absent.crt') };
  const missing = await rejection(openedKey(t, vault, { caFile, login: absent }));
  assert.match(missing.message, /absent\.crt cannot be read/);
  assert.equal(vault.calls.length, 0);
});
