// Leases in a real Valkey. The package that it comes in has none with TLS, so TLS is spoken before it.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { Lease } from '../../src/registry/lease.ts';
import { leaseSettings } from '../../src/registry/leases/settings.ts';
import { openLease } from '../../src/registry/leases/open.ts';
import { makeCertificates } from '../certificates.ts';
import { eventually } from '../registry/credential-world.ts';
import { isError, within } from '../registry/world.ts';
import { requirePeers, skipWithout, temporaryFolder } from './peer.ts';
import { startTlsFront } from './tls-front.ts';
import { startValkey, type Valkey } from './valkey.ts';

const durationMs = 3_000;
const password = 'correct-horse-battery';
const nothing = async () => ({});

const open = async (t: TestContext, url: string, more: object = {}): Promise<Lease> => {
  const settings = leaseSettings.parse({ kind: 'valkey', url, durationMs, waitMs: 30_000, ...more });
  const lease = await openLease(settings, { allowPrivate: [], warn: () => undefined });
  t.after(() => lease.close());
  return lease;
};

const holder = (url: string, name: string, count: number, file: string): ChildProcess =>
  spawn(
    process.execPath,
    [join(import.meta.dirname, 'lease-holder.ts'), url, name, String(count), String(durationMs), file],
    { stdio: 'inherit' },
  );

const isUnavailable = isError('unavailable', 'LEASE_UNAVAILABLE');

describe('a lease in Valkey', { skip: skipWithout('valkey') }, () => {
  let valkey: Valkey;
  before(async () => {
    requirePeers('valkey');
    valkey = await startValkey();
  });
  after(() => valkey?.stop());

  it('excludes: 50 holders in two processes, one at a time, and nothing is left behind', async () => {
    const file = join(temporaryFolder('lease'), 'order');
    writeFileSync(file, '');
    const ended = [0, 1].map(async () => once(holder(valkey.url, 'crowd', 25, file), 'exit'));
    for (const [code] of await Promise.all(ended)) assert.equal(code, 0);
    assert.equal(readFileSync(file, 'utf8'), '+-'.repeat(50));
    assert.equal(await valkey.ask('EXISTS countersign:lease:{crowd}'), ':0');
  });

  it('ends when its holder was killed, and not before', async (t) => {
    const file = join(temporaryFolder('lease'), 'order');
    writeFileSync(file, '');
    const child = holder(valkey.url, 'orphan', 0, file);
    await eventually(() => assert.equal(readFileSync(file, 'utf8'), '+'));
    const lease = await open(t, valkey.url);
    await assert.rejects(
      (await open(t, valkey.url, { waitMs: 1_000 })).hold('orphan', within(9_000), nothing),
      isUnavailable,
    );
    child.kill('SIGKILL');
    await once(child, 'exit');
    const started = performance.now();
    await lease.hold('orphan', within(30_000), nothing);
    assert.ok(performance.now() - started < durationMs + 5_000);
  });

  it('leaves notes, the last 16, for a while, and can linger', async (t) => {
    const lease = await open(t, valkey.url);
    for (let note = 1; note <= 18; note++) await lease.hold('noted', within(9_000), async () => ({ note: `n${note}` }));
    await lease.hold('noted', within(9_000), async () => ({ lingerMs: 500 }));
    const started = performance.now();
    await lease.hold('noted', within(9_000), async ({ noted }) => {
      assert.deepEqual(
        await noted(),
        Array.from({ length: 16 }, (_, index) => `n${index + 3}`),
      );
      return {};
    });
    assert.ok(performance.now() - started >= 400);
    const left = Number((await valkey.ask('PTTL countersign:lease:{noted}:notes')).slice(1));
    assert.ok(left > durationMs && left <= 8 * durationMs, `${left}`);
  });

  it('taken away by others: the holder is told before it writes', async (t) => {
    const lease = await open(t, valkey.url);
    const outcome = await lease.hold('taken', within(9_000), async ({ confirm }) => {
      await confirm();
      assert.equal(await valkey.ask('DEL countersign:lease:{taken}'), ':1');
      await assert.rejects(confirm(), isError('unavailable', 'LEASE_LOST'));
      return {};
    });
    assert.equal(outcome, 'lost');
  });

  it('a database of its own, and a prefix', async (t) => {
    const lease = await open(t, `${valkey.url}/2`, { keyPrefix: 'mine:' });
    await lease.hold('x', within(9_000), async () => {
      assert.equal(await valkey.ask('EXISTS mine:{x}'), ':0');
      assert.equal(await valkey.ask('SELECT 2', 'EXISTS mine:{x}'), ':1');
      return {};
    });
  });
});

describe('a Valkey that is started anew', { skip: skipWithout('valkey') }, () => {
  it('in the middle of the work: the holder finds out, and what follows is doubtful for a while', async (t) => {
    const first = await startValkey();
    const lease = await open(t, first.url);
    await lease.hold('tag', within(9_000), nothing);
    let second: Valkey | undefined;
    const outcome = await lease.hold('tag', within(20_000), async ({ confirm, context }) => {
      await first.crash();
      second = await startValkey({ port: first.port });
      await assert.rejects(confirm(), isError('unavailable', 'LEASE_LOST'));
      assert.ok(context.signal.aborted);
      return {};
    });
    t.after(() => second?.stop());
    assert.equal(outcome, 'lost');
    assert.equal(await lease.hold('tag', within(9_000), nothing), 'doubtful');
    await new Promise((done) => setTimeout(done, durationMs + 100));
    assert.equal(await lease.hold('tag', within(9_000), nothing), 'certain');
  });

  it('is away for longer: an error that may pass, and then all is well again', async (t) => {
    const first = await startValkey();
    const lease = await open(t, first.url);
    await lease.hold('tag', within(9_000), nothing);
    await first.crash();
    await assert.rejects(lease.hold('tag', within(20_000), nothing), (error: { retryAfterMs?: number }) => {
      assert.equal(error.retryAfterMs, 1_000);
      return isUnavailable(error);
    });
    const second = await startValkey({ port: first.port });
    t.after(() => second.stop());
    await eventually(async () => void (await lease.hold('tag', within(9_000), nothing)));
  });
});

describe('a Valkey with passwords', { skip: skipWithout('valkey') }, () => {
  let valkey: Valkey;
  before(async () => {
    requirePeers('valkey');
    valkey = await startValkey({ password });
    const rules = '~countersign:lease:* +eval +set +get +del +pexpire +rpush +ltrim +lrange';
    assert.equal(await valkey.ask(`ACL SETUSER leaser on >least ${rules}`), '+OK');
    assert.equal(await valkey.ask('ACL SETUSER nobody on >none ~none:* +get'), '+OK');
  });
  after(() => valkey?.stop());

  it('the right one, and a user that may do no more than the documentation says', async (t) => {
    await (await open(t, valkey.url, { password })).hold('tag', within(9_000), nothing);
    const lease = await open(t, valkey.url, { username: 'leaser', password: 'least' });
    await lease.hold('tag', within(9_000), async ({ confirm, noted }) => {
      await confirm();
      await noted();
      return { note: 'n', lingerMs: 10 };
    });
  });

  for (const [what, more, code] of [
    ['a wrong password', { password: 'wrong-secret' }, 'WRONGPASS'],
    ['none', {}, 'NOAUTH'],
    ['a user that may not', { username: 'nobody', password: 'none' }, 'NOPERM'],
  ] as const) {
    it(`${what}: says so (${code}), and not the password`, async (t) => {
      const lease = await open(t, valkey.url, more);
      await assert.rejects(lease.hold('tag', within(20_000), nothing), (error: Error) => {
        assert.match(error.message, new RegExp(`refuses the user of registry\\.lease \\(${code}\\)`));
        assert.ok(!/wrong-secret/.test(`${error.message}${String(error.cause)}`));
        return isUnavailable(error);
      });
    });
  }

  it('over TLS, verified by the CA that is configured, and by no other', async (t) => {
    const { ca, server } = makeCertificates();
    const front = await startTlsFront(valkey.port, server);
    t.after(() => front.stop());
    const caFile = join(temporaryFolder('lease'), 'ca.crt');
    writeFileSync(caFile, ca);
    const url = `rediss://localhost:${front.port}`;
    await (await open(t, url, { password, caFile })).hold('tag', within(9_000), nothing);
    const untrusted = await open(t, url, { password });
    await assert.rejects(untrusted.hold('tag', within(20_000), nothing), (error: Error) => {
      assert.match(error.message, /did not pass TLS verification/);
      return isUnavailable(error);
    });
    const plain = await open(t, `rediss://127.0.0.1:${valkey.port}`, { password });
    await assert.rejects(plain.hold('tag', within(20_000), nothing), isUnavailable);
  });
});
