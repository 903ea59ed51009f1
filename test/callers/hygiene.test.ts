import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import type { TokenReason } from '../../src/callers/unauthenticated.ts';
import { CountersignError } from '../../src/model/error.ts';
import {
  audience,
  ec,
  es256,
  forge,
  goodClaims,
  goodHeader,
  issuer,
  jwk,
  now,
  pinnedCallers,
  rsa,
  stranger,
  withClaims,
  withHeader,
} from './forge.ts';

const good = forge();
const [head = '', body = '', tail = ''] = good.split('.');
const hs256 = (key: string | Buffer) => (input: string) => createHmac('sha256', key).update(input).digest();
const rs256 = (input: string) => sign('sha256', Buffer.from(input), rsa.privateKey);
const attacker = jwk(stranger.publicKey, { kid: 'evil' });
const evil = 'https://evil.example/keys';
const raw = (text: string) => forge(goodHeader, text);
const claimsText = JSON.stringify(goodClaims);
const lastCharacterChanged = (segment: string): string => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  // The last character of 86 carries two bits that mean nothing: another spelling of the same bytes.
  const index = alphabet.indexOf(segment.at(-1) ?? '');
  return segment.slice(0, -1) + alphabet[(index & ~3) | ((index + 1) & 3)];
};
const spki = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString();
const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });

// biome-ignore format: a table
const forged: readonly (readonly [name: string, token: string, reason: TokenReason])[] = [
  // Shape
  ['empty', '', 'TOKEN_MALFORMED'],
  ['not a token', 'hello', 'TOKEN_MALFORMED'],
  ['one dot', `${head}.${body}`, 'TOKEN_MALFORMED'],
  ['only dots', '..', 'TOKEN_MALFORMED'],
  ['a million dots', '.'.repeat(1_000_000), 'TOKEN_TOO_LARGE'],
  ['sixteen thousand dots', '.'.repeat(16_000), 'TOKEN_MALFORMED'],
  ['13 MB', `${head}.${'A'.repeat(13_000_000)}.${tail}`, 'TOKEN_TOO_LARGE'],
  ['one character above the cap', forge(goodHeader, { ...goodClaims, pad: 'x'.repeat(12_200) }).padEnd(16_385, 'A'), 'TOKEN_TOO_LARGE'],
  ['four segments', `${good}.${tail}`, 'TOKEN_MALFORMED'],
  ['five segments, encrypted', `${head}.${body}.${body}.${body}.${tail}`, 'TOKEN_MALFORMED'],
  ['trailing dot', `${good}.`, 'TOKEN_MALFORMED'],
  ['leading dot', `.${good}`, 'TOKEN_MALFORMED'],
  ['no signature', `${head}.${body}.`, 'TOKEN_MALFORMED'],
  ['no payload', `${head}..${tail}`, 'TOKEN_MALFORMED'],
  ['no header', `.${body}.${tail}`, 'TOKEN_MALFORMED'],
  ['JSON serialization', JSON.stringify({ protected: head, payload: body, signature: tail }), 'TOKEN_MALFORMED'],
  // Base64url
  ['= appended', `${good}=`, 'TOKEN_MALFORMED'],
  ['== appended', `${good}==`, 'TOKEN_MALFORMED'],
  ['== on the payload', `${head}.${body}==.${tail}`, 'TOKEN_MALFORMED'],
  ['newline appended', `${good}\n`, 'TOKEN_MALFORMED'],
  ['newline inside', `${head}.${body.slice(0, 8)}\n${body.slice(8)}.${tail}`, 'TOKEN_MALFORMED'],
  ['space in front', ` ${good}`, 'TOKEN_MALFORMED'],
  ['space inside', `${head}.${body} .${tail}`, 'TOKEN_MALFORMED'],
  ['standard alphabet', `${head}.${body}.+/${tail.slice(2)}`, 'TOKEN_MALFORMED'],
  ['stray bits in the signature', `${head}.${body}.${lastCharacterChanged(tail)}`, 'TOKEN_MALFORMED'],
  ['NUL inside', `${head}.${body}\u0000.${tail}`, 'TOKEN_MALFORMED'],
  ['wide characters', `${head}.${body}.${tail.slice(1)}Ａ`, 'TOKEN_MALFORMED'],
  // JSON
  ['header is an array', forge([goodHeader]), 'TOKEN_MALFORMED'],
  ['header is a string', forge('"ES256"'), 'TOKEN_MALFORMED'],
  ['header is not JSON', forge('{alg:ES256}'), 'TOKEN_MALFORMED'],
  ['header is 5,000 deep', forge(`{"alg":"ES256","kid":"ec","x":${'['.repeat(5000)}${']'.repeat(5000)}}`), 'TOKEN_MALFORMED'],
  ['header with two algs', forge('{"alg":"none","kid":"ec","alg":"ES256"}'), 'TOKEN_MALFORMED'],
  ['header with two kids', forge('{"alg":"ES256","kid":"x","kid":"ec"}'), 'TOKEN_MALFORMED'],
  ['payload is null', raw('null'), 'TOKEN_MALFORMED'],
  ['payload is an array', raw(`[${claimsText}]`), 'TOKEN_MALFORMED'],
  ['two iss, ours last', raw(`{"iss":"https://evil.example",${claimsText.slice(1)}`), 'TOKEN_MALFORMED'],
  ['two iss, ours first', raw(`${claimsText.slice(0, -1)},"iss":"https://evil.example"}`), 'TOKEN_MALFORMED'],
  ['two sub', raw(`{"sub":"repo:evil/app",${claimsText.slice(1)}`), 'TOKEN_MALFORMED'],
  ['two sub, one escaped', raw(`{"s\\u0075b":"repo:evil/app",${claimsText.slice(1)}`), 'TOKEN_MALFORMED'],
  ['duplicate deep inside', raw(`${claimsText.slice(0, -1)},"x":{"a":1,"a":2}}`), 'TOKEN_MALFORMED'],
  ['__proto__ claim', raw(`${claimsText.slice(0, -1)},"__proto__":{"admin":true}}`), 'TOKEN_MALFORMED'],
  ['payload with a byte order mark', raw(`\ufeff${claimsText}`), 'TOKEN_MALFORMED'],
  ['payload that is not UTF-8', forge(goodHeader, Buffer.concat([Buffer.from('{"x":"'), Buffer.from([0xff]), Buffer.from(`",${claimsText.slice(1)}`)])), 'TOKEN_MALFORMED'],
  ['something after the payload', raw(`${claimsText}{}`), 'TOKEN_MALFORMED'],
  ['payload is 50 deep', raw(`${claimsText.slice(0, -1)},"x":${'['.repeat(50)}${']'.repeat(50)}}`), 'TOKEN_MALFORMED'],
  // Algorithms and keys
  ['alg none', forge({ ...goodHeader, alg: 'none' }), 'ALGORITHM_REFUSED'],
  ['alg none, no signature', `${forge({ ...goodHeader, alg: 'none' }).split('.').slice(0, 2).join('.')}.`, 'TOKEN_MALFORMED'],
  ['alg NONE', withHeader({ alg: 'NONE' }), 'ALGORITHM_REFUSED'],
  ['alg es256', withHeader({ alg: 'es256' }), 'ALGORITHM_REFUSED'],
  ['alg missing', withHeader({ alg: undefined }), 'TOKEN_MALFORMED'],
  ['alg is a list', withHeader({ alg: ['ES256'] }), 'TOKEN_MALFORMED'],
  ['alg unknown', withHeader({ alg: 'XY123' }), 'ALGORITHM_REFUSED'],
  ['HS256 with the public key as the secret', forge({ ...goodHeader, alg: 'HS256', kid: 'rsa' }, goodClaims, hs256(spki)), 'ALGORITHM_REFUSED'],
  ['HS256 with an empty secret', forge({ ...goodHeader, alg: 'HS256' }, goodClaims, hs256('')), 'ALGORITHM_REFUSED'],
  ['PS256 when only RS256 and ES256 are configured', forge({ alg: 'PS256', kid: 'rsa' }, goodClaims, rs256), 'ALGORITHM_REFUSED'],
  ['RS256 with the id of an EC key', forge({ alg: 'RS256', kid: 'ec' }, goodClaims, rs256), 'SIGNATURE_INVALID'],
  ['ES256 with the id of an RSA key', forge({ alg: 'ES256', kid: 'rsa' }), 'SIGNATURE_INVALID'],
  ['stranger signs', forge(goodHeader, goodClaims, (input) => es256(input, stranger.privateKey)), 'SIGNATURE_INVALID'],
  ['payload changed after signing', `${head}.${forge(goodHeader, { ...goodClaims, sub: 'repo:acme/other' }).split('.')[1]}.${tail}`, 'SIGNATURE_INVALID'],
  ['header changed after signing', `${forge({ ...goodHeader, extra: 1 }).split('.')[0]}.${body}.${tail}`, 'SIGNATURE_INVALID'],
  ['ECDSA r = s = 0', forge(goodHeader, goodClaims, () => Buffer.alloc(64)), 'SIGNATURE_INVALID'],
  ['ECDSA signature in DER', forge(goodHeader, goodClaims, (input) => sign('sha256', Buffer.from(input), ec.privateKey)), 'SIGNATURE_INVALID'],
  ['signature cut short', `${head}.${body}.${Buffer.from(tail, 'base64url').subarray(0, 63).toString('base64url')}`, 'SIGNATURE_INVALID'],
  ['jwk header with the attacker\'s key', forge({ ...goodHeader, jwk: attacker }, goodClaims, (input) => es256(input, stranger.privateKey)), 'HEADER_REFUSED'],
  ['jku header', withHeader({ jku: evil }), 'HEADER_REFUSED'],
  ['x5u header', withHeader({ x5u: evil }), 'HEADER_REFUSED'],
  ['x5c header', withHeader({ x5c: ['MIIB'] }), 'HEADER_REFUSED'],
  ['jku that is null', withHeader({ jku: null }), 'HEADER_REFUSED'],
  ['crit header', withHeader({ crit: ['exp'] }), 'HEADER_REFUSED'],
  ['b64 false', withHeader({ b64: false, crit: ['b64'] }), 'HEADER_REFUSED'],
  ['typ of a logout token', withHeader({ typ: 'logout+jwt' }), 'HEADER_REFUSED'],
  ['typ is a number', withHeader({ typ: 1 }), 'HEADER_REFUSED'],
  ['kid missing, though only one key fits', withHeader({ kid: undefined }), 'TOKEN_MALFORMED'],
  ['kid empty', withHeader({ kid: '' }), 'TOKEN_MALFORMED'],
  ['kid a number', withHeader({ kid: 1 }), 'TOKEN_MALFORMED'],
  ['kid that climbs', withHeader({ kid: '../../../../dev/null' }), 'KEY_UNKNOWN'],
  ['kid of Object.prototype', withHeader({ kid: 'constructor' }), 'KEY_UNKNOWN'],
  ['kid is a URL', withHeader({ kid: evil }), 'KEY_UNKNOWN'],
  ['kid of another issuer', withHeader({ kid: 'evil' }), 'KEY_UNKNOWN'],
  // Issuer
  ['iss missing', withClaims({ iss: undefined }), 'CLAIM_MISSING'],
  ['iss with a longer host', withClaims({ iss: 'https://issuer.example.evil' }), 'ISSUER_UNKNOWN'],
  ['iss with a trailing slash', withClaims({ iss: `${issuer}/` }), 'ISSUER_UNKNOWN'],
  ['iss with a path (another enterprise)', withClaims({ iss: `${issuer}/acme` }), 'ISSUER_UNKNOWN'],
  ['iss in upper case', withClaims({ iss: 'HTTPS://ISSUER.EXAMPLE' }), 'ISSUER_UNKNOWN'],
  ['iss in a list', withClaims({ iss: [issuer] }), 'ISSUER_UNKNOWN'],
  ['iss with plain http', withClaims({ iss: 'http://issuer.example' }), 'ISSUER_UNKNOWN'],
  ['iss of Object.prototype', withClaims({ iss: '__proto__' }), 'ISSUER_UNKNOWN'],
  ['iss with a space', withClaims({ iss: `${issuer} ` }), 'ISSUER_UNKNOWN'],
  // Audience
  ['aud missing', withClaims({ aud: undefined }), 'CLAIM_MISSING'],
  ['aud of another', withClaims({ aud: 'sigstore' }), 'AUDIENCE_MISMATCH'],
  ['aud ours and another', withClaims({ aud: [audience, 'sigstore'] }), 'AUDIENCE_MISMATCH'],
  ['aud ours twice', withClaims({ aud: [audience, audience] }), 'AUDIENCE_MISMATCH'],
  ['aud empty list', withClaims({ aud: [] }), 'AUDIENCE_MISMATCH'],
  ['aud ours in a deeper list', withClaims({ aud: [[audience]] }), 'AUDIENCE_MISMATCH'],
  ['aud begins with ours', withClaims({ aud: `${audience}.evil` }), 'AUDIENCE_MISMATCH'],
  ['aud in upper case', withClaims({ aud: audience.toUpperCase() }), 'AUDIENCE_MISMATCH'],
  ['aud an object', withClaims({ aud: { 0: audience, length: 1 } }), 'AUDIENCE_MISMATCH'],
  // Times
  ['exp missing', withClaims({ exp: undefined }), 'CLAIM_MISSING'],
  ['exp a text', withClaims({ exp: `${now + 290}` }), 'CLAIM_INVALID'],
  ['exp null', withClaims({ exp: null }), 'CLAIM_INVALID'],
  ['exp too large for a number', raw(claimsText.replace(`"exp":${now + 290}`, '"exp":1e999')), 'TOKEN_MALFORMED'],
  ['expired a minute ago', withClaims({ exp: now - 60, iat: now - 300 }), 'TOKEN_EXPIRED'],
  ['expired exactly at the tolerance', withClaims({ exp: now - 30, iat: now - 300 }), 'TOKEN_EXPIRED'],
  ['lives ten years', withClaims({ exp: now + 315_360_000 }), 'TOKEN_LIFETIME_TOO_LONG'],
  ['lives a second more than an hour', withClaims({ exp: now - 10 + 3601 }), 'TOKEN_LIFETIME_TOO_LONG'],
  ['iat missing', withClaims({ iat: undefined }), 'CLAIM_MISSING'],
  ['iat in the future', withClaims({ iat: now + 60 }), 'TOKEN_NOT_YET_VALID'],
  ['iat after exp', withClaims({ iat: now + 20, exp: now + 10 }), 'CLAIM_INVALID'],
  ['iat a negative number', withClaims({ iat: -1 }), 'CLAIM_INVALID'],
  ['issued 20 minutes ago', withClaims({ iat: now - 1200, exp: now + 1200 }), 'TOKEN_TOO_OLD'],
  ['nbf in the future', withClaims({ nbf: now + 60 }), 'TOKEN_NOT_YET_VALID'],
  ['nbf a text', withClaims({ nbf: 'now' }), 'CLAIM_INVALID'],
  // Subject and id
  ['sub missing', withClaims({ sub: undefined }), 'CLAIM_MISSING'],
  ['sub empty', withClaims({ sub: '' }), 'CLAIM_INVALID'],
  ['sub a number', withClaims({ sub: 7 }), 'CLAIM_INVALID'],
  ['sub a list', withClaims({ sub: ['repo:acme/app'] }), 'CLAIM_INVALID'],
  ['sub with a newline', withClaims({ sub: 'repo:acme/app\nadmin' }), 'CLAIM_INVALID'],
  ['jti missing', withClaims({ jti: undefined }), 'CLAIM_MISSING'],
  ['jti empty', withClaims({ jti: '' }), 'CLAIM_INVALID'],
];

const refusal = async (attempt: Promise<unknown>): Promise<CountersignError> => {
  const outcome = await attempt.then(
    (caller) => assert.fail(`accepted: ${JSON.stringify(caller)}`),
    (error: unknown) => error,
  );
  assert.ok(outcome instanceof CountersignError, String(outcome));
  return outcome;
};

test('every forged token is refused with its reason, without one outbound connection, and is not repeated', async () => {
  assert.ok(forged.length >= 60);
  const { identify, outbound, callers } = pinnedCallers();
  for (const [name, token, reason] of forged) {
    const error = await refusal(identify(token));
    assert.equal(`${error.code} ${error.reason}`, `unauthenticated ${reason}`, name);
    for (const part of token
      .split('.')
      .filter((segment) => segment.length > 20)
      .slice(0, 5)) {
      assert.ok(!error.message.includes(part), `${name}: the message repeats the token`);
    }
    assert.ok(error.message.length < 700, name);
    assert.equal(error.cause, undefined, name);
  }
  assert.deepEqual(outbound, []);
  assert.ok(await identify(good), 'a good token is still accepted');
  assert.equal(
    await callers.identify({ bearer: undefined }, { requestId: '', signal: AbortSignal.timeout(1000), deadline: 1e9 }),
    undefined,
  );
});

test('what is accepted: ES256, RS256, a list of one audience, small clock differences, at+jwt', async () => {
  const { identify } = pinnedCallers();
  const accepted = [
    good,
    forge({ alg: 'RS256', kid: 'rsa' }, goodClaims, rs256),
    withClaims({ aud: [audience] }),
    withClaims({ exp: now - 29, iat: now - 300 }),
    withClaims({ iat: now + 29, nbf: now + 29 }),
    withClaims({ nbf: undefined }),
    withClaims({ exp: now - 10 + 3600 }),
    withClaims({ iat: now - 600, exp: now + 100 }),
    withHeader({ typ: 'at+jwt' }),
    withHeader({ typ: undefined, x5t: 'abc' }),
  ];
  for (const token of accepted) assert.ok(await identify(token));
});

test('claims have no prototype, at any depth', async () => {
  const { identify } = pinnedCallers();
  const caller = (await identify(withClaims({ nested: { list: [{ a: 1 }] } }))) as { claims: Record<string, unknown> };
  assert.equal(Object.getPrototypeOf(caller.claims), null);
  assert.equal(caller.claims.constructor, undefined);
  assert.equal(Object.getPrototypeOf(caller.claims.nested), null);
  assert.equal(JSON.stringify(caller.claims.nested), '{"list":[{"a":1}]}');
});

test('weak, private and encryption keys of an issuer are passed over', async () => {
  const weakToken = forge({ alg: 'RS256', kid: 'k' }, goodClaims, (input) =>
    sign('sha256', Buffer.from(input), weak.privateKey),
  );
  const strong = jwk(ec.publicKey, { kid: 'ec' });
  const sets: [string, unknown][] = [
    [weakToken, jwk(weak.publicKey, { kid: 'k' })],
    [withHeader({ kid: 'k' }), jwk(ec.publicKey, { kid: 'k', use: 'enc' })],
    [withHeader({ kid: 'k' }), jwk(ec.publicKey, { kid: 'k', key_ops: ['sign'] })],
    [withHeader({ kid: 'k' }), jwk(ec.privateKey, { kid: 'k' })],
    [withHeader({ kid: 'k' }), { kty: 'oct', k: 'AAAA', kid: 'k' }],
    [withHeader({ kid: 'k' }), { ...jwk(ec.publicKey, { kid: 'k' }), x: 'AAAA' }],
    [forge({ alg: 'RS256', kid: 'k' }, goodClaims, rs256), { ...jwk(rsa.publicKey, { kid: 'k' }), e: 'AQ' }],
  ];
  for (const [token, key] of sets) {
    const { identify } = pinnedCallers([key, strong]);
    assert.equal((await refusal(identify(token))).reason, 'KEY_UNKNOWN');
    assert.ok(await identify(good));
  }
});

test('two keys may share a kid; the one of the right type is used', async () => {
  const keys = [
    jwk(rsa.publicKey, { kid: 'ec' }),
    jwk(stranger.publicKey, { kid: 'ec' }),
    jwk(ec.publicKey, { kid: 'ec' }),
  ];
  assert.ok(await pinnedCallers(keys).identify(good));
});

test("an unusable key set is the service's trouble, not the caller's", async () => {
  const many = Array.from({ length: 101 }, (_, index) => jwk(ec.publicKey, { kid: `k${index}` }));
  for (const keys of [[], many, [{ kid: 'ec' }]]) {
    const error = await refusal(pinnedCallers(keys).identify(good));
    assert.equal(`${error.code} ${error.reason}`, 'unavailable ISSUER_UNAVAILABLE');
    assert.ok((error.retryAfterMs ?? 0) > 0);
  }
});

test('per issuer: jti optional, algorithms, lifetime and age from the configuration', async () => {
  const { identify } = pinnedCallers(undefined, {
    requireJti: false,
    algorithms: ['ES256'],
    maxLifetimeSeconds: 120,
    maxAgeSeconds: 60,
    clockToleranceSeconds: 0,
  });
  assert.ok(await identify(withClaims({ jti: undefined, exp: now + 110 })));
  const refused: [string, string][] = [
    [forge({ alg: 'RS256', kid: 'rsa' }, goodClaims, rs256), 'ALGORITHM_REFUSED'],
    [withClaims({ exp: now + 111 }), 'TOKEN_LIFETIME_TOO_LONG'],
    [withClaims({ iat: now - 61, nbf: now - 61, exp: now + 1 }), 'TOKEN_TOO_OLD'],
    [withClaims({ iat: now - 50, exp: now }), 'TOKEN_EXPIRED'],
  ];
  for (const [token, reason] of refused) assert.equal((await refusal(identify(token))).reason, reason);
});
