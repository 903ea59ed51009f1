// A group of keys behind a real service: what callers, the audit log and Verify are told when a member fails.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type FakeVault, startFakeVault } from '../keys/fake-vault.ts';
import { approle, signing } from '../keys/vault-world.ts';
import { type ServiceWorld, type Signed, startServiceWorld, type VerdictJson } from '../service-world.ts';
import { assertSound, readTrail } from './audit-trail.ts';

type SignedBy = Signed & { readonly key: { readonly key: string; readonly member: string; readonly hint: string } };

const content = Buffer.from('a release').toString('base64');
const request = { subject: { blob: { name: 'release.tar', content } }, key: 'release' };

describe('a group of keys', () => {
  let vault: FakeVault;
  let world: ServiceWorld;

  before(async () => {
    vault = await startFakeVault();
    vault.createKey('release');
    const login = { ...approle };
    world = await startServiceWorld({
      keys: [
        { name: 'in-vault', kind: 'vault', address: vault.address, key: 'release', login },
        { name: 'spare', kind: 'local', generate: 'ecdsa-p256-sha256' },
        {
          name: 'release',
          kind: 'group',
          members: [{ key: 'in-vault' }, { key: 'spare' }],
          differentPublicKeys: true,
        },
      ],
      plainHttpHosts: [],
    });
  });
  after(async () => {
    await world.stop();
    await vault.close();
  });

  const sign = () => world.ok<SignedBy>('/v1/sign', request);
  const verify = async (signed: SignedBy): Promise<boolean> => {
    const { verified } = await world.ok<VerdictJson>('/v1/verify', {
      subject: request.subject,
      keys: [{ key: 'release' }],
      signatures: signed.outputs.map((output) => output.content),
    });
    return verified;
  };

  test('signs with the next member when one fails; the answer, the audit log and Verify know both', async () => {
    const first = await sign();
    assert.deepEqual([first.key.key, first.key.member], ['release', 'in-vault']);
    vault.fail(signing, { status: 503, body: { errors: ['Vault is sealed'] } });
    const second = await sign();
    assert.deepEqual([second.key.key, second.key.member], ['release', 'spare']);
    assert.notEqual(second.key.hint, first.key.hint);
    assert.deepEqual(await Promise.all([verify(first), verify(second)]), [true, true]);

    const trail = readTrail(world.auditFile);
    assertSound(trail);
    assert.deepEqual(
      trail.map(({ event, key, member, error }) => [event, key, member, error?.reason]),
      [
        ['intended', 'release', 'in-vault', undefined],
        ['completed', 'release', 'in-vault', undefined],
        ['intended', 'release', 'in-vault', undefined],
        ['failed', 'release', 'in-vault', 'KEY_SEALED'],
        ['intended', 'release', 'spare', undefined],
        ['completed', 'release', 'spare', undefined],
      ],
    );
    assert.equal(second.auditId, trail[4]?.id);
  });

  test('a format that needs several signatures has them all of one member', async () => {
    const { outputs, key } = await world.ok<SignedBy>('/v1/attest', {
      ...request,
      predicateType: 'https://example.com/test/v1',
      predicate: Buffer.from('{"a":1}').toString('base64'),
      formats: ['FORMAT_DSSE', 'FORMAT_BUNDLE'],
    });
    assert.equal(outputs.length, 2);
    assert.equal(key.member, 'spare');
  });
});
