// deploy/keys/vault.md against a real Vault: its policy is enough and no more, and its commands do what it says.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
import { createLeases } from '../../src/keys/leases.ts';
import { keySettings } from '../../src/keys/settings.ts';
import { openVaultKey } from '../../src/keys/vault.ts';
import type { VaultSession } from '../../src/keys/vault/session.ts';
import { vaultSettings } from '../../src/keys/vault/settings.ts';
import { CountersignError } from '../../src/model/error.ts';
import { createHttpClient } from '../../src/net/http.ts';
import { makeCertificates } from '../certificates.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { run, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { startVault, type Vault, type VaultKeyType } from './vault.ts';

const page = readFileSync(new URL('../../deploy/keys/vault.md', import.meta.url), 'utf8');
const message = { kind: 'message', message: Buffer.from('to be signed') } as const;

/** The commands of every block of shell, each as words; none of them quotes. */
const commands = [...page.matchAll(/^( *)```sh\n([\s\S]*?)^ *```$/gm)].flatMap(([, , block = '']) =>
  block
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([first]) => first !== ''),
);
const policy = /```hcl\n(.*?)```/s.exec(page)?.[1] ?? '';
const paths = policy.match(/path "[^"]+" \{[^}]*\}/g) ?? [];
const signPaths = new Map(
  [...page.matchAll(/^\| (`.*`) \| `(transit\/sign\/release[^`]*)` \|$/gm)].flatMap(([, types = '', path = '']) =>
    [...types.matchAll(/`([^`]+)`/g)].map(([, type = '']) => [type, path] as const),
  ),
);

describe('the page about Vault, against a real one', { skip: skipWithout('vault') }, () => {
  let vault: Vault;
  before(async () => {
    vault = await startVault();
  });
  after(() => vault?.stop());

  const must = async <Body>(method: string, path: string, body?: unknown): Promise<Body> => {
    const answer = await vault.request<Body>(method, path, body);
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const tokenWith = async (rules: string): Promise<string> => {
    await must('PUT', 'sys/policies/acl/countersign', { policy: rules });
    const made = await must<{ auth: { client_token: string } }>('POST', 'auth/token/create', {
      policies: ['countersign'],
      no_default_policy: true,
    });
    return made.auth.client_token;
  };
  const ringOf = (t: TestContext, login: object): Keyring => {
    const settings = { name: 'subject', kind: 'vault', address: vault.addr, key: 'release', login, refreshSeconds: 0 };
    const ring = openKeyring([keySettings.parse(settings)]);
    t.after(() => ring.close());
    return ring;
  };
  /** `signs`, alone and in a batch, or the reason why not. */
  const signs = async (t: TestContext, rules: string): Promise<string> => {
    const login = { method: 'token', token: await tokenWith(rules) };
    const settings = vaultSettings.parse({
      name: 'subject',
      kind: 'vault',
      address: vault.addr,
      key: 'release',
      login,
    });
    const deps = { createHttp: createHttpClient, vaultSessions: createLeases<VaultSession>() };
    try {
      const key = await openVaultKey(settings, deps, testContext());
      t.after(() => key.close());
      await key.sign(message, testContext());
      const many = (await key.signMany?.([message, message], testContext())) ?? [];
      return many.length === 2 && many.every((each) => each instanceof Uint8Array) ? 'signs' : String(many);
    } catch (caught) {
      return caught instanceof CountersignError ? caught.reason : String(caught);
    }
  };
  const again = async (type: VaultKeyType): Promise<void> => {
    await vault.request('POST', 'transit/keys/release/config', { deletion_allowed: true });
    await vault.request('DELETE', 'transit/keys/release');
    await vault.createKey('release', type);
  };

  test('the policy is enough, each path of it is needed, and it allows nothing else', async (t) => {
    await again('ecdsa-p256');
    assert.equal(paths.length, 2);
    assert.equal(await signs(t, policy), 'signs');
    for (const path of paths) assert.equal(await signs(t, policy.replace(path, '')), 'KEY_ACCESS_DENIED', path);
    await vault.createKey('other', 'ecdsa-p256');
    const token = await tokenWith(policy);
    const input = Buffer.alloc(32).toString('base64');
    for (const [method, path] of [
      ['POST', 'transit/sign/other/sha2-256'],
      ['POST', 'transit/sign/release/sha2-512'],
      ['POST', 'transit/sign/release'],
      ['GET', 'transit/keys/other'],
      ['POST', 'transit/keys/release/rotate'],
      ['POST', 'transit/keys/release/config'],
      ['GET', 'transit/export/signing-key/release'],
      ['DELETE', 'transit/keys/release'],
    ] as const) {
      const answer = await fetch(`${vault.addr}/v1/${path}`, {
        method,
        headers: { 'X-Vault-Token': token },
        ...(method === 'POST' ? { body: JSON.stringify({ input, prehashed: true }) } : {}),
      });
      assert.equal(answer.status, 403, `${method} ${path}`);
    }
  });

  test('the path for signatures of every type', async (t) => {
    assert.equal(signPaths.size, 7);
    for (const [type, path] of signPaths) {
      await again(type as VaultKeyType);
      const fit = policy.replace('transit/sign/release/sha2-256', path);
      assert.equal(await signs(t, fit), 'signs', type);
      if (fit !== policy) assert.equal(await signs(t, policy), 'KEY_ACCESS_DENIED', type);
    }
  });

  test('the commands, one after the other', async (t) => {
    await vault.request('POST', 'transit/keys/release/config', { deletion_allowed: true });
    await vault.request('DELETE', 'sys/mounts/transit');
    await vault.request('DELETE', 'sys/policies/acl/countersign');
    const cwd = temporaryFolder('docs');
    writeFileSync(join(cwd, 'countersign.hcl'), policy);
    writeFileSync(join(cwd, 'client-ca.pem'), makeCertificates().ca);
    const vaultCli = async (args: readonly string[]) =>
      succeeded(await run('vault', args, { env: { ...vault.env }, cwd })).stdout;
    const isRotation = (words: readonly string[]): boolean =>
      words.some((word) => word.startsWith('transit/keys/release/'));
    const first = commands.findIndex(isRotation);
    assert.ok(first > 5 && commands.length - first === 3, JSON.stringify(commands));
    for (const [program, ...args] of commands.slice(0, first)) {
      assert.equal(program, 'vault');
      // Vault asks the issuer for its keys; there is none here.
      if (args.includes('auth/jwt/config')) {
        const key = 'jwt_validation_pubkeys=@client.pub';
        writeFileSync(join(cwd, 'client.pub'), await vault.publicKey('release'));
        await vaultCli(['write', 'auth/jwt/config', key]);
      } else if (args.includes('auth/kubernetes/config')) {
        // Outside of a pod Vault finds no CA of the cluster.
        await vaultCli([...args, 'disable_local_ca_jwt=true']);
      } else await vaultCli(args);
    }

    await vaultCli(['write', '-f', 'auth/approle/role/countersign/secret-id']);
    const id = await must<{ data: { role_id: string } }>('GET', 'auth/approle/role/countersign/role-id');
    const secret = await must<{ data: { secret_id: string } }>('POST', 'auth/approle/role/countersign/secret-id', {});
    const login = { method: 'approle', roleId: id.data.role_id, secretId: secret.data.secret_id };
    const running = ringOf(t, login);
    const version = async (ring: Keyring): Promise<string> =>
      (await ring.sign('subject', message, testContext())).version.version;
    assert.equal(await version(running), '1');

    const [rotate = [], read = [], forbid = []] = commands.slice(first);
    await vaultCli(rotate.slice(1));
    assert.match(await vaultCli(read.slice(1)), /BEGIN PUBLIC KEY[\s\S]*BEGIN PUBLIC KEY/);
    assert.equal(await version(running), '1', 'an open key keeps its version');
    assert.equal(await version(ringOf(t, login)), '2', 'opened anew');
    await vaultCli(forbid.slice(1));
    assert.equal((await rejection(version(running))).reason, 'KEY_DISABLED');
    assert.equal(await version(running), '2');
  });
});
