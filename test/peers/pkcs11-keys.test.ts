// Keys in PKCS#11 tokens, as SoftHSM 2 has them: the same contract as for every other key, and what only tokens can do.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { before, describe, type TestContext, test } from 'node:test';
import { algorithms } from '../../src/keys/algorithms.ts';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
import { keySettings } from '../../src/keys/settings.ts';
import type { AlgorithmName } from '../../src/model/algorithm.ts';
import { keyContract, rejection, testContext } from '../contract/keys/contract.ts';
import { type KeySpec, library, pin, type Softhsm, skipSofthsm, startSofthsm } from './softhsm.ts';

const names = Object.keys(algorithms) as AlgorithmName[];
const message = { kind: 'message', message: Buffer.from('to be signed') } as const;

const specOf = (name: AlgorithmName): KeySpec => {
  const row = algorithms[name];
  if (row.type === 'ed25519') return 'Ed25519';
  return row.type === 'rsa' ? (`RSA-${row.modulusBits}` as KeySpec) : row.curve;
};

describe('keys in a PKCS#11 token', { skip: skipSofthsm() }, () => {
  let hsm: Softhsm;
  before(async () => {
    hsm = startSofthsm();
    await hsm.initToken('contract');
  });

  const settings = (more: object) =>
    keySettings.parse({ name: 'subject', kind: 'pkcs11', module: library(), token: 'contract', pin, ...more });
  const ringOf = (t: TestContext, more: object): Keyring => {
    const ring = openKeyring([settings(more)]);
    t.after(() => ring.close());
    return ring;
  };
  const sign = (ring: Keyring) => ring.sign('subject', message, testContext());
  const describeKey = (ring: Keyring) => ring.describe('subject', testContext());

  for (const algorithm of names) {
    const row = algorithms[algorithm];
    keyContract({
      label: `PKCS#11, ${algorithm}`,
      backend: 'pkcs11',
      algorithm,
      open: async () => {
        hsm.createKey('contract', algorithm, specOf(algorithm));
        return openKeyring([
          settings({ label: algorithm, ...(row.type === 'rsa' ? { rsaPadding: row.padding, rsaHash: row.hash } : {}) }),
        ]);
      },
    });
  }

  test('64 at once, on sessions within their bound, for a fast and a slow key', async (t) => {
    hsm.createKey('contract', 'busy-ec', 'P-256');
    hsm.createKey('contract', 'busy-rsa', 'RSA-4096');
    for (const label of ['busy-ec', 'busy-rsa']) {
      const ring = ringOf(t, { label, maxSessions: 4 });
      const signed = await Promise.all(Array.from({ length: 64 }, () => sign(ring)));
      assert.equal(signed.length, 64, 'each verified by the keyring');
    }
  });

  test('what the token says of the key', async (t) => {
    hsm.createKey('contract', 'kept', 'P-256', { id: 'abcd' });
    hsm.createKey('contract', 'open', 'P-256', { extractable: true });
    const { evidence, origin, protectionLevel, versions } = await describeKey(ringOf(t, { label: 'kept' }));
    assert.deepEqual(
      [evidence['CKA_ID'], evidence['CKA_SENSITIVE'], evidence['CKA_NEVER_EXTRACTABLE'], evidence['CKF_HW_SLOT']],
      ['abcd', 'true', 'true', 'false'],
    );
    assert.match(`${evidence['manufacturer']} ${evidence['model']}`, /SoftHSM/);
    assert.deepEqual([origin, protectionLevel, versions.length], ['generated', 'software', 1]);
    const open = await describeKey(ringOf(t, { label: 'open' }));
    assert.deepEqual([open.evidence['CKA_SENSITIVE'], open.evidence['CKA_EXTRACTABLE']], ['false', 'true']);
    const demanding = ringOf(t, { label: 'kept', requireProtection: 'hsm' });
    assert.equal((await rejection(describeKey(demanding))).reason, 'PROTECTION_LEVEL');
  });

  test('by serial number, by id, by reference; a label that two keys have', async (t) => {
    const serial = await hsm.initToken('second');
    const one = hsm.createKey('second', 'same', 'P-256');
    const two = hsm.createKey('second', 'same', 'P-384');
    const at = { token: undefined, serial };
    const ambiguous = await rejection(describeKey(ringOf(t, { ...at, label: 'same' })));
    assert.equal(ambiguous.reason, 'KEY_AMBIGUOUS');
    for (const { id } of [one, two]) assert.match(ambiguous.message, new RegExp(`id ${id}`));
    for (const [id, algorithm] of [
      [one.id, 'ecdsa-p256-sha256'],
      [two.id, 'ecdsa-p384-sha384'],
    ] as const) {
      assert.equal((await describeKey(ringOf(t, { ...at, id }))).signing.algorithm, algorithm);
      const percent = id.replace(/../g, '%$&');
      const ref = `pkcs11:token=second;object=same;id=${percent};type=private?module-path=${library()}`;
      const ring = ringOf(t, { token: undefined, module: undefined, ref });
      assert.equal((await sign(ring)).version.algorithm, algorithm);
    }
    const missing = await rejection(describeKey(ringOf(t, { token: 'nowhere', label: 'same' })));
    assert.match(missing.message, new RegExp(`"second", serial ${serial}`));
  });

  test('keys that cannot sign', async (t) => {
    const cases = [
      ['curve', 'secp256k1', {}, 'KEY_UNSUPPORTED'],
      ['use', 'P-256', { sign: false }, 'KEY_UNSUPPORTED'],
      ['late', 'P-256', { startDate: '20200101', endDate: '20200201' }, 'KEY_EXPIRED'],
      ['early', 'P-256', { startDate: '29990101' }, 'KEY_NOT_YET_VALID'],
      ['alone', 'P-256', { withoutPublicKey: true }, 'KEY_PUBLIC_MISSING'],
    ] as const;
    for (const [label, spec, options, reason] of cases) {
      hsm.createKey('contract', label, spec, options);
      assert.equal((await rejection(describeKey(ringOf(t, { label })))).reason, reason, label);
    }
    hsm.createKey('contract', 'rsa-alone', 'RSA-2048', { withoutPublicKey: true });
    assert.ok(await sign(ringOf(t, { label: 'rsa-alone' })));
    hsm.createKey('contract', 'dated', 'P-256', { startDate: '20200101', endDate: '29990101' });
    const { versions } = await describeKey(ringOf(t, { label: 'dated' }));
    assert.equal(versions[0]?.validFrom, '2020-01-01T00:00:00.000Z');
  });

  test('a wrong PIN, then the right one', async (t) => {
    await hsm.initToken('pinned');
    hsm.createKey('pinned', 'key', 'P-256');
    for (let round = 0; round < 3; round++) {
      const error = await rejection(describeKey(ringOf(t, { token: 'pinned', label: 'key', pin: 'wrong-pin' })));
      assert.equal(error.reason, 'KEY_ACCESS_DENIED');
      assert.match(error.message, round === 0 ? /CKR_PIN_INCORRECT/ : /refused this PIN before/);
    }
    assert.ok(await sign(ringOf(t, { token: 'pinned', label: 'key' })));
  });

  test('the process of the module is killed while it signs', async (t) => {
    hsm.createKey('contract', 'killed', 'RSA-4096');
    const ring = ringOf(t, { label: 'killed' });
    await sign(ring);
    const own = childrenOf(process.pid);
    assert.ok(own.length > 0);
    const many = Promise.allSettled(Array.from({ length: 32 }, () => sign(ring)));
    await new Promise((resolve) => setTimeout(resolve, 10));
    for (const pid of own) process.kill(pid, 'SIGKILL');
    for (const outcome of await many) {
      if (outcome.status === 'rejected') assert.equal((outcome.reason as { code: string }).code, 'unavailable');
    }
    const next = await sign(ring).catch(async (caught: { readonly retryAfterMs?: number }) => {
      await new Promise((resolve) => setTimeout(resolve, (caught.retryAfterMs ?? 0) + 100));
      return sign(ring);
    });
    assert.ok(next, 'another process took over');
  });

  test('a token that is made anew under an open key', async (t) => {
    await hsm.initToken('anew');
    hsm.createKey('anew', 'key', 'P-256');
    const ring = ringOf(t, { token: 'anew', label: 'key' });
    const before = (await sign(ring)).version.version;
    await hsm.deleteToken('anew');
    const gone = await rejection(sign(ring));
    assert.ok(['unavailable', 'failed_precondition'].includes(gone.code), gone.message);
    await hsm.initToken('anew');
    hsm.createKey('anew', 'key', 'P-256');
    let after = '';
    for (let round = 0; round < 40 && after === ''; round++) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      after = await sign(ring).then(
        ({ version }) => version.version,
        () => '',
      );
    }
    assert.match(after, /^[0-9a-f]{64}$/);
    assert.notEqual(after, before);
  });

  test('300 signatures of each curve are DER, also where r or s is short', async (t) => {
    for (const label of ['ecdsa-p256-sha256', 'ecdsa-p384-sha384', 'ecdsa-p521-sha512']) {
      const ring = ringOf(t, { label });
      const signed = await Promise.all(
        Array.from({ length: 300 }, (_, index) =>
          ring.sign('subject', { kind: 'message', message: Buffer.from(`message ${index}`) }, testContext()),
        ),
      );
      assert.ok(new Set(signed.map(({ signature }) => signature.length)).size > 1, 'several lengths');
    }
  });
});

/** Processes of ours that hold a PKCS#11 module. */
const childrenOf = (parent: number): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const [status, command] = [
          readFileSync(`/proc/${name}/status`, 'utf8'),
          readFileSync(`/proc/${name}/cmdline`, 'utf8'),
        ];
        return status.includes(`\nPPid:\t${parent}\n`) && command.includes('keys/pkcs11/process');
      } catch {
        return false;
      }
    })
    .map(Number);
