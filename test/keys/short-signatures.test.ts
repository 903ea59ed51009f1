// ECDSA signatures whose r or s is short: of P-256 one in 128 is, so a conversion that does not pad or strip fails that seldom.
// Here are 300 of each curve, with r and s of every length there is. Of what is signed, the key is made to fit: for any r that
// is the x of a point R, any s, and a digest z, the pair is a signature of z by Q = (s R - z G) / r (SEC 1 version 2, section
// 4.1.6), which is how verifiers recover keys. So nothing is searched for, and all runs see the same ones.
import assert from 'node:assert/strict';
import { createHash, createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { type EcdsaCurve, ecdsaDerToRaw, ecdsaRawToDer } from '../../src/codec/ecdsa.ts';
import { derTag, writeDer } from '../../src/codec/der.ts';
import { algorithms, type EcAlgorithm } from '../../src/keys/algorithms.ts';
import { readSignature as readAzure } from '../../src/keys/azure/key.ts';
import { readSignature as readPkcs11 } from '../../src/keys/pkcs11/key.ts';
import { publicKeyOf, publicKeyPem } from '../../src/keys/public-key.ts';
import { verifySignature } from '../../src/keys/verify-signature.ts';
import type { KeyVersion } from '../../src/model/signature.ts';
import { run, skipWithout, succeeded, temporaryFolder } from '../peers/peer.ts';

const count = 300;
const curves = { 'P-256': p256, 'P-384': p384, 'P-521': p521 } as const;
type Curve = (typeof curves)['P-256'];
const widths: Readonly<Record<EcdsaCurve, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 };

/** The top byte of P-521 is 0 or 1, so that one does not count. */
const wholeBytes = (width: number): number => (width === 66 ? 65 : width);

type Made = {
  readonly message: Buffer;
  readonly r: bigint;
  readonly s: bigint;
  readonly raw: Buffer;
  readonly key: KeyObject;
  readonly version: KeyVersion;
};

const numberOf = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
const padded = (value: bigint, width: number): Buffer =>
  Buffer.from(value.toString(16).padStart(2 * width, '0'), 'hex');
const minimal = (value: bigint): Buffer => padded(value, Math.ceil(value.toString(16).length / 2));
/** X.690, section 8.3: two's complement in as few octets as hold it. Not by the writer that is tested. */
const integer = (value: bigint): Buffer => {
  const bytes = minimal(value);
  const content = (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes;
  return Buffer.concat([Buffer.of(2, content.length), content]);
};
const derOf = ({ r, s }: Made): Buffer => {
  const content = Buffer.concat([integer(r), integer(s)]);
  const length = content.length < 128 ? Buffer.of(content.length) : Buffer.of(0x81, content.length);
  return Buffer.concat([Buffer.of(0x30), length, content]);
};

/** A number of so many bytes, with its highest bit set or not: that decides about a zero octet in DER. */
const scalarOf = (seed: string, bytes: number, high: boolean): bigint => {
  const made = Buffer.concat([
    createHash('sha512').update(seed).digest(),
    createHash('sha512').update(`${seed}.`).digest(),
  ]);
  const content = made.subarray(0, bytes);
  content[0] = ((content[0] ?? 0) & 0x7f) | (high ? 0x80 : 1);
  return numberOf(content);
};

/** A point of which x is `from`, or the next number that is one. */
const pointAt = ({ Point }: Curve, from: bigint, width: number) => {
  for (let x = from; ; x += 1n) {
    try {
      return Point.fromBytes(Buffer.concat([Buffer.of(2), padded(x, width)]));
    } catch {
      // Of half of all numbers there is no point.
    }
  }
};

/**
 * In turn r, s, and both are short: by one byte, by two, ... down to a single one. Where r is chosen, s is a small multiple of
 * it, or that from the other end, so that (s / r) R costs little; where s is chosen, R is a small multiple of G.
 */
const make = ({ curve: name, hash }: EcAlgorithm, index: number): Made => {
  const curve: Curve = curves[name];
  const { BASE, Fn } = curve.Point;
  const width = widths[name];
  const message = Buffer.from(`message ${index}`);
  const z = Fn.create(numberOf(createHash(hash).update(message).digest()));
  const step = Math.floor(index / 3);
  const short = wholeBytes(width) - 1 - (step % (wholeBytes(width) - 1));
  const chosen = scalarOf(`${name} ${index}`, short, step % 2 === 0);
  const small = BigInt(2 + (index % 14));

  const R = index % 3 === 1 ? BASE.multiplyUnsafe(small) : pointAt(curve, chosen, width);
  const r = Fn.create(R.toAffine().x);
  const multiples = index % 3 === 0 ? Fn.neg(small) : small;
  const s = index % 3 === 1 ? chosen : Fn.mul(r, multiples);
  const inverse = Fn.inv(r);
  const ofBase = index % 3 === 1 ? Fn.sub(Fn.mul(s, small), z) : Fn.neg(z);
  const fromBase = BASE.multiply(Fn.mul(ofBase, inverse));
  const fromR = R.multiplyUnsafe(small);
  const Q = [fromBase.subtract(fromR), fromBase, fromBase.add(fromR)][index % 3] ?? assert.fail();
  const { x, y } = Q.toAffine();
  const [xText, yText] = [x, y].map((each) => padded(each, width).toString('base64url'));
  const key = createPublicKey({ key: { kty: 'EC', crv: name, x: xText, y: yText } as JsonWebKey, format: 'jwk' });
  const raw = Buffer.concat([padded(r, width), padded(s, width)]);
  return { message, r, s, raw, key, version: { key: 'short', version: '1', ...publicKeyOf(key) } };
};

for (const algorithm of Object.values(algorithms).filter((each): each is EcAlgorithm => each.type === 'ec')) {
  const { curve, hash, name } = algorithm;
  const width = widths[curve];

  describe(`${curve}: ${count} signatures with a short r or s`, () => {
    const all = Array.from({ length: count }, (_, index) => make(algorithm, index));

    test('they are short, in every length', () => {
      const lengths = (pick: (made: Made) => bigint) => new Set(all.map((made) => minimal(pick(made)).length));
      const whole = wholeBytes(width);
      for (const pick of [({ r }: Made) => r, ({ s }: Made) => s]) assert.ok(lengths(pick).size >= whole - 1);
      for (const made of all) assert.ok([made.r, made.s].some((scalar) => minimal(scalar).length < whole));
    });

    test('r || s becomes DER that verifies, and becomes r || s again', () => {
      for (const made of all) {
        const der = ecdsaRawToDer(made.raw, curve);
        assert.deepEqual(der, derOf(made));
        assert.deepEqual(ecdsaDerToRaw(der, curve), made.raw);
        assert.ok(verify(hash, made.message, made.key, der), 'by OpenSSL alone');
      }
    });

    test('so do the answers of Azure and of PKCS#11 tokens, which are r || s', () => {
      for (const made of all) {
        const der = derOf(made);
        const kid = 'https://unit.vault.azure.net/keys/short/1';
        const answer = { kid, value: made.raw.toString('base64url') };
        assert.deepEqual(Buffer.from(readAzure(answer, made.version, kid, 'the vault')), der);
        assert.deepEqual(Buffer.from(readPkcs11(made.raw, made.version, 'the token')), der);
      }
    });

    test('numbers that are not padded, and DER that is, are refused', () => {
      for (const made of all) {
        const bare = Buffer.concat([minimal(made.r), minimal(made.s)]);
        assert.equal(ecdsaRawToDer(bare, curve), undefined);
        const fixed = [made.raw.subarray(0, width), made.raw.subarray(width)];
        const loose = writeDer(derTag.sequence, ...fixed.map((each) => writeDer(derTag.integer, Buffer.of(0), each)));
        assert.equal(ecdsaDerToRaw(loose, curve), undefined);
        assert.equal(verifySignature(made.version, { kind: 'message', message: made.message }, loose), false);
      }
    });

    if (name === 'ecdsa-p256-sha256') {
      test('over a message and a digest, as signatures are verified before they leave', () => {
        for (const [index, made] of all.entries()) {
          const { message } = made;
          assert.equal(verifySignature(made.version, { kind: 'message', message }, derOf(made)), true);
          // Without OpenSSL that takes a hundred times as long.
          if (index % 10 !== 0) continue;
          const digest = createHash('sha256').update(made.message).digest();
          assert.equal(verifySignature(made.version, { kind: 'digest', digest }, derOf(made)), true);
        }
      });
    }

    test('openssl takes them', { skip: skipWithout('openssl') }, async () => {
      const folder = temporaryFolder('short');
      const written = (file: string, content: Uint8Array | string): string => {
        const path = join(folder, file);
        writeFileSync(path, content);
        return path;
      };
      for (const [index, made] of all.entries()) {
        if (index % 25 !== 0) continue;
        const key = written('key.pem', publicKeyPem(made.version.spki));
        const signature = written('signature', ecdsaRawToDer(made.raw, curve) ?? '');
        const message = written('message', made.message);
        const args = ['dgst', `-${hash}`, '-verify', key, '-signature', signature, message];
        assert.match(succeeded(await run('openssl', args)).stdout, /Verified OK/);
      }
    });
  });
}
