import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { openKeyring } from '../../src/keys/keyring.ts';
import type { CountersignError } from '../../src/model/error.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { failing, login, message, opened, renewing, settings, started } from './vault-world.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-vault-'));
after(() => rmSync(folder, { recursive: true }));

const assertNoSecrets = (error: CountersignError): void => {
  const shown = [error.message, JSON.stringify(error.metadata), String(error.cause), error.stack].join();
  assert.doesNotMatch(shown, /a-secret|hvs\.fake/);
};

test('an expired token: one new login, and the caller sees nothing', async (t) => {
  const { vault, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  vault.revokeTokens();
  await Promise.all(Array.from({ length: 10 }, () => ring.sign('subject', message, testContext())));
  assert.equal(vault.count(login), 2);
});

test('a missing permission: one new login, then denied, and no login storm', async (t) => {
  const { error, vault, key } = await failing(t, { status: 403, body: { errors: ['permission denied'] } });
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_ACCESS_DENIED']);
  assert.match(error.message, /update.*sign/);
  assertNoSecrets(error);
  for (let round = 0; round < 5; round += 1) await rejection(key.sign(message, testContext()));
  assert.equal(vault.count(login), 2);
});

test('a refused login names its method and shows no secret', async (t) => {
  const { vault, ring } = await opened(t);
  vault.fail(login, { status: 400, body: { errors: ['invalid role or secret ID'] } });
  const error = await rejection(ring.sign('subject', message, testContext()));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_ACCESS_DENIED']);
  assert.match(error.message, /approle login at auth\/approle/);
  assertNoSecrets(error);
});

test('a given token that is refused is not asked for again; a token file is read again', async (t) => {
  const vault = await started(t);
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, `${vault.issueToken()}\n`);
  const ring = openKeyring([
    settings(vault, { name: 'value', login: { method: 'token', token: 'wrong' } }),
    settings(vault, { name: 'file', login: { method: 'token', tokenFile } }),
  ]);
  t.after(() => ring.close());
  assert.equal((await rejection(ring.sign('value', message, testContext()))).reason, 'KEY_ACCESS_DENIED');
  await ring.sign('file', message, testContext());
  vault.revokeTokens();
  writeFileSync(tokenFile, `${vault.issueToken()}\n`);
  await ring.sign('file', message, testContext());
  vault.revokeTokens();
  assert.equal((await rejection(ring.sign('file', message, testContext()))).reason, 'KEY_ACCESS_DENIED');
});

describe('token life', { concurrency: true }, () => {
  test('a token is renewed at two thirds of its life, without a login', async (t) => {
    const { vault, ring } = await opened(t);
    vault.lease(1, true);
    await ring.sign('subject', message, testContext());
    await vault.seen(renewing, 2);
    await ring.sign('subject', message, testContext());
    assert.equal(vault.count(login), 1);
  });

  test('a renewal that fails is tried again before the token expires', async (t) => {
    const { vault, ring } = await opened(t);
    vault.lease(2, true);
    await ring.sign('subject', message, testContext());
    vault.fail(renewing, { status: 500, body: { errors: [] } }, 2);
    await vault.seen(renewing, 3);
    await ring.sign('subject', message, testContext());
    assert.equal(vault.count(login), 1);
  });

  test('a refused renewal, and a token that runs out, lead to a new login', async (t) => {
    for (const status of [403, 503]) {
      const { vault, ring } = await opened(t);
      vault.lease(1, true);
      await ring.sign('subject', message, testContext());
      vault.fail(renewing, { status, body: { errors: ['permission denied'] } });
      await vault.seen(login, 2);
      await ring.sign('subject', message, testContext());
    }
  });

  test('a batch token is replaced by a new login in time, never renewed', async (t) => {
    const { vault, ring } = await opened(t);
    vault.lease(1, false);
    await ring.sign('subject', message, testContext());
    await vault.seen(login, 2);
    assert.equal(vault.count(renewing), 0);
    await ring.sign('subject', message, testContext());
  });

  test('a renewal that grants little, or nothing, as at the end of a maximum life, leads to a new login', async (t) => {
    for (const seconds of [0.2, 0]) {
      const { vault, ring } = await opened(t);
      vault.lease(1, true);
      await ring.sign('subject', message, testContext());
      vault.lease(seconds, true);
      await vault.seen(login, 2);
      await ring.sign('subject', message, testContext());
    }
  });
});
