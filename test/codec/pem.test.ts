import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { readPem, writePem } from '../../src/codec/pem.ts';

const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .publicKey.export({ type: 'spki', format: 'pem' })
  .toString();
const problem = (text: string, labels = ['PUBLIC KEY'], max?: number): string => {
  const read = readPem(text, labels, max);
  assert.ok('problem' in read, 'was accepted');
  return read.problem;
};

test('reads what OpenSSL writes, with either line end, and writes it back the same', () => {
  for (const text of [pem, pem.replaceAll('\n', '\r\n'), `\n  ${pem}\n\n`]) {
    const read = readPem(text, ['CERTIFICATE', 'PUBLIC KEY']);
    assert.ok('bytes' in read);
    assert.equal(read.label, 'PUBLIC KEY');
    assert.equal(writePem(read.label, read.bytes), pem);
  }
});

test('refuses everything else, in words', () => {
  assert.match(problem('hello'), /no PEM block/);
  assert.match(problem(''), /no PEM block/);
  assert.match(problem(pem + pem), /2 PEM blocks/);
  assert.match(problem(pem, ['CERTIFICATE']), /"PUBLIC KEY", not CERTIFICATE/);
  assert.match(problem(`Bag Attributes\n${pem}`), /text around it/);
  assert.match(problem(`${pem}trailing`), /text around it/);
  assert.match(problem(pem.replace('END PUBLIC', 'END PRIVATE')), /broken/);
  assert.match(problem(pem.replace(/-----END.*/, '')), /broken/);
  assert.match(problem(pem.replace('MFkw', 'MF*w')), /broken/);
  assert.match(problem(pem.replace('MFkw', 'MFk')), /canonical/);
  assert.match(problem('-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n'), /canonical/);
  assert.match(problem('-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END X-----', ['X']), /old OpenSSL/);
  assert.match(problem(pem, ['PUBLIC KEY'], 50), /longer than 50/);
});

test('a large text that is no PEM is answered quickly', () => {
  const started = performance.now();
  problem(`-----BEGIN PUBLIC KEY-----\n${' \n'.repeat(32_000)}x`);
  assert.ok(performance.now() - started < 500);
});

test('any bytes survive', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
      const read = readPem(writePem('ANY', bytes), ['ANY']);
      assert.ok('bytes' in read && read.bytes.equals(bytes));
    }),
  );
});
