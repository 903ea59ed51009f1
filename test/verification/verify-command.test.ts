import assert from 'node:assert/strict';
import { constants, sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { buildStatement } from '../../src/formats/statement.ts';
import { parsePublicKeyPem, publicKeyPem } from '../../src/keys/public-key.ts';
import type { VerifyCommand } from '../../src/model/command.ts';
import { openContext } from '../../src/model/context.ts';
import { type Digest, sha256 } from '../../src/model/digest.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { Attached, KeyVersion, Sealed, Signable } from '../../src/model/signature.ts';
import { type VerifyPorts, verify } from '../../src/verification/verify-command.ts';
import { newKey, sealed, signBytes } from '../formats/made.ts';

const old = newKey('P-256', 'release');
const current = newKey('P-256', 'release');
const other = newKey('P-256', 'other');
const digest: Digest = `sha256:${'ab'.repeat(32)}`;
const reference = 'registry.example/acme/app:v1';
const predicateType = 'https://slsa.dev/provenance/v1';
const image: Signable = { kind: 'image', repository: 'registry.example/acme/app', digest, annotations: {} };
const attestation: Signable = {
  kind: 'statement',
  predicateType,
  digest,
  statement: buildStatement({ subjects: [{ digest }], predicateType, predicate: {}, version: 'v0.1' }),
};

const attached = (one: Sealed): Attached => ({
  storedAt: { repository: 'registry.example/acme/app', digest: sha256(one.content), by: 'referrer', tag: undefined },
  mediaType: one.mediaType,
  content: one.content,
  annotations: one.attachment.annotations,
});

const command = (parts: Partial<VerifyCommand> = {}): VerifyCommand => ({
  subject: { kind: 'image', reference },
  keys: [{ kind: 'configured', name: 'release' }],
  expect: { kind: 'signature' },
  annotations: {},
  provided: [],
  repository: undefined,
  ...parts,
});

type Calls = { resolved: string[]; listed: (string | undefined)[] };
const world = (
  found: readonly Attached[],
  calls: Calls = { resolved: [], listed: [] },
): VerifyPorts & { calls: Calls } => ({
  calls,
  registry: {
    resolve: async (asked) => {
      calls.resolved.push(`${asked.registry}/${asked.repository}:${asked.tag}@${asked.digest}`);
      if (asked.tag === 'absent') throw new CountersignError('not_found', 'IMAGE_NOT_FOUND', 'No such image.');
      return {
        registry: asked.registry,
        repository: asked.repository,
        descriptor: { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 1 },
      };
    },
    attachments: async (resolved, repository) => {
      assert.equal(resolved.descriptor.digest, digest);
      calls.listed.push(repository);
      return found;
    },
  },
  keyVersions: async (name) => {
    if (name === 'release') return [current, old];
    throw new CountersignError('not_found', 'KEY_NOT_FOUND', `There is no key ${name}.`);
  },
  parsePublicKey: parsePublicKeyPem,
});
const run = async (what: VerifyCommand, ports: VerifyPorts) => {
  const { context, dispose } = openContext('test', 10_000);
  try {
    return await verify(what, ports, context);
  } finally {
    dispose();
  }
};

describe('an image', () => {
  test('is resolved once; every version of a configured key counts', async () => {
    for (const key of [old, current]) {
      const ports = world([attached(sealed('bundle', image, other)), attached(sealed('bundle', image, key))]);
      const verdict = await run(command({ repository: 'registry.example/signatures' }), ports);
      assert.equal(verdict.verified, true, verdict.summary);
      assert.equal(verdict.digest, digest);
      assert.deepEqual(
        verdict.signatures.map((each) => each.reason),
        ['WRONG_KEY', 'OK'],
      );
      assert.equal(verdict.signatures[1]?.key, 'release');
      assert.equal(verdict.signatures[1]?.keyHint, key.hint);
      assert.equal(verdict.signatures[1]?.storedAt?.by, 'referrer');
      assert.deepEqual(ports.calls.resolved, ['registry.example/acme/app:v1@undefined']);
      assert.deepEqual(ports.calls.listed, ['registry.example/signatures']);
    }
  });

  test('without signatures: a verdict, not an error', async () => {
    const verdict = await run(command(), world([]));
    assert.equal(verdict.verified, false);
    assert.match(verdict.summary, /no signature was found/);
    assert.deepEqual(verdict.signatures, []);
  });

  test('that does not exist, or a key that does not: not_found', async () => {
    const absent = command({ subject: { kind: 'image', reference: 'registry.example/acme/app:absent' } });
    await assert.rejects(run(absent, world([])), { code: 'not_found', reason: 'IMAGE_NOT_FOUND' });
    const unknown = command({ keys: [{ kind: 'configured', name: 'nobody' }] });
    await assert.rejects(run(unknown, world([])), { code: 'not_found', reason: 'KEY_NOT_FOUND' });
  });

  test('what the caller brings counts besides what lies there, and has no place', async () => {
    const provided = [sealed('bundle', image, current).content, Buffer.from('junk')];
    const verdict = await run(command({ provided }), world([attached(sealed('bundle', image, other))]));
    assert.deepEqual(
      verdict.signatures.map((each) => [each.reason, each.storedAt?.by]),
      [
        ['WRONG_KEY', 'referrer'],
        ['OK', undefined],
        ['UNKNOWN_FORMAT', undefined],
      ],
    );
  });

  test('without a registry only what the caller brings counts, for an image by digest', async () => {
    const ports = { ...world([]), registry: undefined };
    const subject = { kind: 'image', reference: `registry.example/acme/app@${digest}` } as const;
    const verdict = await run(command({ subject, provided: [sealed('bundle', image, current).content] }), ports);
    assert.equal(verdict.verified, true);
    await assert.rejects(run(command(), ports), { code: 'invalid_argument', message: /subject\.image/ });
  });

  test('an attestation by short name or URI; a signature does not stand in for it', async () => {
    const ports = world([attached(sealed('bundle', image, current)), attached(sealed('dsse', attestation, current))]);
    for (const name of ['slsaprovenance1', predicateType]) {
      const verdict = await run(command({ expect: { kind: 'attestation', predicateType: name } }), ports);
      assert.deepEqual(
        verdict.signatures.map((each) => each.reason),
        ['WRONG_PREDICATE_TYPE', 'OK'],
      );
      assert.ok(verdict.signatures[1]?.statement);
    }
    const none = await run(command({ expect: { kind: 'attestation', predicateType: 'spdxjson' } }), ports);
    assert.equal(none.verified, false);
    for (const predicateType of ['nonsense', 'https://sigstore.dev/cosign/sign/v1', '']) {
      await assert.rejects(run(command({ expect: { kind: 'attestation', predicateType } }), ports), {
        code: 'invalid_argument',
      });
    }
  });

  test('a bad reference is named', async () => {
    const subject = { kind: 'image', reference: 'UPPER/case::' } as const;
    await assert.rejects(run(command({ subject }), world([])), { code: 'invalid_argument', message: /subject\.image/ });
  });
});

describe('a blob', () => {
  const content = Buffer.from('a blob');
  const signable: Signable = { kind: 'blob', name: 'b', digest: sha256(content), content };
  const keys = [{ kind: 'pem', pem: publicKeyPem(current.spki) }] as const;
  const nothing = { ...world([]), registry: undefined };

  test('whole or by digest, by bundle or bare signature, with a PEM key', async () => {
    const subjects = [
      { kind: 'blob', name: 'b', content },
      { kind: 'blob-digest', name: 'b', digest: sha256(content) },
    ] as const;
    for (const subject of subjects) {
      const bare = signBytes(current, content);
      for (const provided of [
        sealed('bundle', signable, current).content,
        bare,
        Buffer.from(bare.toString('base64')),
      ]) {
        const verdict = await run(command({ subject, keys, provided: [provided] }), nothing);
        assert.equal(verdict.verified, true, verdict.summary);
        assert.equal(verdict.digest, sha256(content));
        assert.equal(verdict.signatures[0]?.key, `pem:${current.hint}`);
      }
    }
  });

  test('a PEM that is no public key is named by its place', async () => {
    const pem = current.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const bad = command({ subject: { kind: 'blob', name: 'b', content }, keys: [...keys, { kind: 'pem', pem }] });
    await assert.rejects(run(bad, nothing), (error: CountersignError) => {
      assert.equal(error.code, 'invalid_argument');
      assert.deepEqual(
        error.violations.map(({ field }) => field),
        ['keys[1].pem'],
      );
      assert.ok(!error.message.includes(pem.slice(30, 60)));
      return true;
    });
  });

  test('no signature brought: not verified', async () => {
    const verdict = await run(command({ subject: { kind: 'blob', name: 'b', content }, keys }), nothing);
    assert.deepEqual([verdict.verified, verdict.signatures], [false, []]);
  });
});

describe('an RSA key in PEM, which does not say its padding', () => {
  const rsa = newKey('rsa', 'release');
  const content = Buffer.from('a blob');
  const pkcs1 = sign('sha256', content, rsa.privateKey);
  const pss = (saltLength: number): Buffer =>
    sign('sha256', content, { key: rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
  const pem = { kind: 'pem', pem: publicKeyPem(rsa.spki) } as const;
  const configured = { kind: 'configured', name: 'release' } as const;
  const subjects = [
    { kind: 'blob', name: 'b', content },
    { kind: 'blob-digest', name: 'b', digest: sha256(content) },
  ] as const;
  const reasons = async (key: VerifyCommand['keys'][number], algorithm: KeyVersion['algorithm'], made: Buffer) => {
    const ports = { ...world([]), registry: undefined, keyVersions: async () => [{ ...rsa, algorithm }] };
    const verdicts = subjects.map((subject) => run(command({ subject, keys: [key], provided: [made] }), ports));
    return (await Promise.all(verdicts)).flatMap(({ signatures }) => signatures.map(({ reason }) => reason));
  };

  test('counts with PKCS#1 v1.5, and with PSS whose salt is as long as the hash', async () => {
    assert.deepEqual(await reasons(pem, rsa.algorithm, pkcs1), ['OK', 'OK']);
    assert.deepEqual(await reasons(pem, rsa.algorithm, pss(32)), ['OK', 'OK']);
  });

  test('counts with nothing else: another salt, another byte', async () => {
    const changed = Buffer.from(pss(32));
    changed[0] = (changed[0] ?? 0) ^ 1;
    for (const made of [pss(0), pss(20), pss(222), changed]) {
      assert.deepEqual(await reasons(pem, rsa.algorithm, made), ['WRONG_KEY', 'WRONG_KEY']);
    }
  });

  test('a configured key counts with the padding that is configured', async () => {
    assert.deepEqual(await reasons(configured, 'rsa-pkcs1v15-2048-sha256', pkcs1), ['OK', 'OK']);
    assert.deepEqual(await reasons(configured, 'rsa-pss-2048-sha256', pss(32)), ['OK', 'OK']);
    assert.deepEqual(await reasons(configured, 'rsa-pkcs1v15-2048-sha256', pss(32)), ['WRONG_KEY', 'WRONG_KEY']);
    assert.deepEqual(await reasons(configured, 'rsa-pss-2048-sha256', pkcs1), ['WRONG_KEY', 'WRONG_KEY']);
  });
});

test('a thousand candidates let the event loop and the deadline have their turn', async () => {
  const one = attached(sealed('bundle', image, other));
  const { context, cancel, dispose } = openContext('test', 60_000);
  const running = verify(command(), world(new Array(1000).fill(one)), context);
  setImmediate(cancel);
  await assert.rejects(running, { code: 'cancelled' });
  dispose();
});

const one = attached(sealed('bundle', image, other));
const inTheirTurn: Readonly<Record<string, readonly [candidate: Attached, keys: number]>> = {
  'two large candidates': [{ ...one, content: Buffer.alloc(2_000_000, 0x20) }, 1],
  'two candidates for sixteen keys': [one, 16],
};
for (const [what, [candidate, keys]] of Object.entries(inTheirTurn)) {
  test(`so do ${what}`, async () => {
    const { context, cancel, dispose } = openContext('test', 60_000);
    const pem = { kind: 'pem', pem: publicKeyPem(current.spki) } as const;
    const running = verify(command({ keys: new Array(keys).fill(pem) }), world([candidate, candidate]), context);
    setImmediate(cancel);
    await assert.rejects(running, { code: 'cancelled' });
    dispose();
  });
}
