import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callerSettings, plainTextHosts } from '../../src/callers/settings.ts';
import { createTokenCache } from '../../src/callers/token-cache.ts';

const good = { issuer: 'https://issuer.example', audience: 'us' };
const problems = (oidc: unknown): string[] => {
  const parsed = callerSettings.safeParse({ oidc });
  return parsed.success ? [] : parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
};

test('defaults are the strict ones', () => {
  const [issuer] = callerSettings.parse({ oidc: [good] }).oidc;
  assert.deepEqual(issuer, {
    ...good,
    algorithms: ['RS256', 'ES256'],
    jwks: 'discovery',
    requireJti: true,
    maxLifetimeSeconds: 3600,
    maxAgeSeconds: 600,
    clockToleranceSeconds: 30,
    allowPlainText: false,
  });
  assert.deepEqual(callerSettings.parse({}), { oidc: [] });
});

test('refuses what would weaken it, naming the field', () => {
  const bad: [unknown, RegExp][] = [
    [{ ...good, issuer: 'http://issuer.example' }, /oidc\.0\.issuer: must be https/],
    [{ ...good, jwks: { url: 'http://issuer.example/jwks' } }, /oidc\.0\.jwks: must be https/],
    [{ ...good, issuer: 'issuer.example' }, /oidc\.0\.issuer: must be an absolute https URL/],
    [{ ...good, issuer: 'https://me@issuer.example' }, /without user name/],
    [{ ...good, audience: '' }, /oidc\.0\.audience/],
    [{ ...good, audience: ['a', 'b'] }, /oidc\.0\.audience/],
    [{ ...good, algorithms: ['HS256'] }, /oidc\.0\.algorithms\.0/],
    [{ ...good, algorithms: ['none'] }, /oidc\.0\.algorithms\.0/],
    [{ ...good, algorithms: [] }, /oidc\.0\.algorithms/],
    [{ ...good, clockToleranceSeconds: 31 }, /clockToleranceSeconds/],
    [{ ...good, jwks: 'somewhere' }, /must be "discovery"/],
    [{ ...good, jwks: { url: 'https://a.example', file: 'b' } }, /must be "discovery"/],
    [{ ...good, audiance: 'us' }, /audiance/],
  ];
  for (const [issuer, expected] of bad) assert.match(problems([issuer]).join('\n'), expected, JSON.stringify(issuer));
  assert.match(problems([good, good]).join(), /oidc\.1\.issuer: this issuer is already listed/);
  assert.deepEqual(problems([good, { ...good, issuer: 'https://issuer.example/' }]), []);
});

test('plain text hosts are only those that the settings say in words', () => {
  const dev = { issuer: 'http://127.0.0.1:8080', audience: 'us', allowPlainText: true };
  const pinned = { ...good, allowPlainText: true, jwks: { url: 'http://keys.example/jwks' } };
  assert.deepEqual(plainTextHosts(callerSettings.parse({ oidc: [good, dev] })), ['127.0.0.1:8080']);
  assert.deepEqual(plainTextHosts(callerSettings.parse({ oidc: [pinned] })), ['keys.example']);
});

test('the token cache is bounded in entries and in bytes, oldest use first out', () => {
  const cache = createTokenCache<number>(3, 100);
  for (const [hash, weight] of [
    ['a', 10],
    ['b', 10],
    ['c', 10],
  ] as const)
    cache.set(hash, 1, weight);
  assert.equal(cache.get('a'), 1);
  cache.set('d', 1, 10);
  assert.equal(cache.get('b'), undefined);
  assert.equal(cache.get('a'), 1);
  cache.set('e', 1, 85);
  assert.deepEqual(
    ['a', 'c', 'd', 'e'].map((hash) => cache.get(hash)),
    [1, undefined, undefined, 1],
  );
  cache.set('f', 1, 101);
  assert.deepEqual(
    ['a', 'e', 'f'].map((hash) => cache.get(hash)),
    [undefined, undefined, undefined],
  );
  cache.set('g', 1, 5);
  cache.set('g', 2, 5);
  cache.delete('g');
  cache.delete('g');
  assert.equal(cache.get('g'), undefined);
});
