// Throttling, failures that pass or stay, and answers that come too late or not at all.
import assert from 'node:assert/strict';
import { answer, countOf, denied, down, type FaultCase, late, ociIndex, paths, refused } from './fault-case.ts';
import type { Rule } from './fault-registry.ts';

const throttled = (min: number, max = min) => refused('resource_exhausted', 'REGISTRY_THROTTLED', min, max);
const always = (retryAfter: string | undefined, expected: FaultCase['expected'], what: string): FaultCase => ({
  name: `429 for good, Retry-After ${what}`,
  rules: () => [{ ...paths.image, fault: answer(429, retryAfter === undefined ? {} : { 'retry-after': retryAfter }) }],
  expected,
});
const once = (rule: Omit<Rule, 'times'>): Rule => ({ ...rule, times: 1 });
const inMs = (ms: number): string => new Date(Date.now() + ms).toUTCString();

export const throttling: readonly FaultCase[] = [
  {
    name: '429 once, Retry-After a second: waited for',
    rules: () => [once({ ...paths.image, fault: answer(429, { 'retry-after': '1' }) })],
    expected: 'signed',
    check: (_, { ms }) => assert.ok(ms >= 990, `${ms}`),
  },
  {
    name: '429 once, Retry-After a date: waited for',
    rules: () => [once({ ...paths.image, fault: answer(429, { 'retry-after': inMs(2_000) }) })],
    expected: 'signed',
  },
  {
    name: '429 once, Retry-After a date in the past',
    rules: () => [once({ ...paths.image, fault: answer(429, { 'retry-after': inMs(-60_000) }) })],
    expected: 'signed',
  },
  always('86400', throttled(86_400_000), 'a day: not waited for'),
  always('99999999999', throttled(86_400_000), 'more than a day'),
  always('9'.repeat(40), throttled(1_000), 'of forty digits'),
  always('-5', throttled(1_000), 'negative'),
  always('0', throttled(0), 'nothing'),
  always('0.5', throttled(1_000), 'a fraction'),
  always('soon', throttled(1_000), 'a word'),
  always('Fri, 31 Feb 2099 99:99:99 GMT', throttled(1_000), 'a date that is none'),
  always(undefined, throttled(1_000), 'absent'),
  {
    name: '429, Retry-After a minute ahead as a date: told, not waited for',
    rules: () => [{ ...paths.image, fault: answer(429, { 'retry-after': inMs(60_000) }) }],
    expected: throttled(30_000, 60_000),
    check: (world) => assert.equal(countOf(world, 'HEAD', /v1$/), 1),
  },
  {
    name: '429 for half a minute, and less than that left: told at once',
    rules: () => [{ ...paths.image, fault: answer(429, { 'retry-after': '30' }) }],
    expected: throttled(30_000),
    check: (world) => assert.equal(countOf(world, 'HEAD', /v1$/), 1),
  },
  {
    name: '429 at every step once: two signatures and no more',
    rules: () =>
      [paths.image, paths.referrers, paths.startUpload, paths.putBundle, paths.putSignatureTag].map((where) =>
        once({ ...where, fault: answer(429, { 'retry-after': '0' }) }),
      ),
    expected: 'signed',
  },
  {
    name: '429 for good for the second format: the first one is named',
    rules: () => [{ ...paths.putBundle, fault: answer(429, { 'retry-after': '0' }) }],
    expected: throttled(0),
    keyUses: 2,
    named: 1,
  },
];

export const failing: readonly FaultCase[] = [
  ...[408, 500, 502, 503, 504].map(
    (status): FaultCase => ({
      name: `${status} once at each step`,
      rules: () =>
        [paths.image, paths.referrers, paths.startUpload, paths.putBundle, paths.putSignatureTag].map((where) =>
          once({ ...where, fault: answer(status) }),
        ),
      expected: 'signed',
    }),
  ),
  {
    name: '503 for good',
    rules: () => [{ ...paths.anything, fault: answer(503) }],
    expected: down,
  },
  {
    name: '403 for the manifest of the bundle: the first one is named',
    rules: () => [{ ...paths.putBundle, fault: answer(403) }],
    expected: denied,
    keyUses: 2,
    named: 1,
  },
  {
    name: '403 for the fallback tag: both are named',
    registry: { referrers: false },
    rules: () => [{ ...paths.putFallbackTag, fault: answer(403) }],
    expected: denied,
    keyUses: 2,
    named: 2,
  },
  {
    name: 'reset for good while the image is looked for',
    rules: () => [{ ...paths.image, fault: { kind: 'reset' } }],
    expected: refused('unavailable', 'CONNECTION_RESET', 1, 1_000),
  },
  {
    name: 'no answer at all',
    rules: () => [{ ...paths.image, fault: { kind: 'hang' } }],
    deadlineMs: 1_500,
    expected: late,
  },
  {
    name: 'half an answer, and then nothing',
    rules: () => [{ ...paths.referrers, fault: { kind: 'stall' } }],
    deadlineMs: 1_500,
    expected: late,
  },
  {
    name: 'no answer to the upload',
    rules: () => [{ ...paths.startUpload, fault: { kind: 'hang' } }],
    deadlineMs: 6_000,
    expected: late,
    keyUses: 2,
  },
];

/** Not readable before 3 s have passed since the first write. */
const eventually = (path: RegExp): Rule => {
  let since: number | undefined;
  return {
    method: 'GET',
    path,
    when: () => {
      since ??= performance.now();
      return performance.now() - since < 3_000;
    },
    fault: answer(404),
  };
};

export const uncertain: readonly FaultCase[] = [
  {
    name: '201 for the .sig tag, which cannot be read for 3 s',
    hides: ['simple-signing'],
    rules: () => [eventually(/\/manifests\/sha256-[0-9a-f]{64}[.]sig$/)],
    expected: 'signed',
  },
  {
    name: '201 for the bundle, which is neither listed nor readable for 3 s',
    hides: ['bundle'],
    rules: () => [
      {
        ...eventually(/\/referrers\//),
        fault: answer(200, { 'content-type': ociIndex }, '{"schemaVersion":2,"manifests":[]}'),
      },
      eventually(/\/manifests\/sha256:/),
    ],
    expected: 'signed',
  },
  {
    name: '201 for the fallback tag, which cannot be read for 3 s',
    hides: ['bundle'],
    registry: { referrers: false },
    rules: () => [eventually(/\/manifests\/sha256-[0-9a-f]{64}$/)],
    expected: 'signed',
  },
  ...(
    [
      ['500 after it was stored', { kind: 'status-after', status: 500 }],
      ['503 after it was stored', { kind: 'status-after', status: 503 }],
      ['reset after it was stored', { kind: 'reset-after' }],
    ] as const
  ).flatMap(([what, fault]) =>
    (
      [
        ['blob', paths.startUpload],
        ['.sig tag', paths.putSignatureTag],
        ['bundle', paths.putBundle],
        ['fallback tag', paths.putFallbackTag],
      ] as const
    ).flatMap(([name, where]): FaultCase[] => {
      const base = {
        registry: { referrers: name !== 'fallback tag' },
        expected: 'signed',
      } as const;
      const first = { ...base, name: `${name}: ${what}, once`, rules: () => [once({ ...where, fault })] };
      const each = {
        ...base,
        registry: { ...base.registry, etag: false },
        name: `${name}: ${what}, each time`,
        rules: () => [{ ...where, fault }],
      };
      return name === 'blob' ? [first] : [first, each];
    }),
  ),
  {
    name: 'the bundle is stored, each time with 500, and then nobody may read it: named as what may be there',
    rules: () => [
      { ...paths.putBundle, fault: { kind: 'status-after', status: 500 } },
      { method: 'GET', path: /\/manifests\/sha256:/, fault: answer(503) },
    ],
    expected: down,
    keyUses: 2,
    named: 2,
  },
  {
    name: 'the bundle is stored and never answered: named as what may be there',
    rules: () => [{ ...paths.putBundle, fault: { kind: 'hang-after' } }],
    deadlineMs: 6_000,
    expected: late,
    keyUses: 2,
    named: 2,
  },
  {
    name: 'the .sig tag is stored and never answered: named as what may be there',
    rules: () => [{ ...paths.putSignatureTag, fault: { kind: 'hang-after' } }],
    deadlineMs: 6_000,
    expected: late,
    keyUses: 2,
    named: 1,
  },
  {
    name: 'the .sig tag is stored, each time with 500, and then nobody may read it: named as what may be there',
    registry: { etag: false },
    rules: (world) => [
      { ...paths.putSignatureTag, fault: { kind: 'status-after', status: 500 } },
      { ...paths.signatureTag, when: () => countOf(world, 'PUT', /[.]sig$/) > 0, fault: answer(403) },
    ],
    expected: denied,
    keyUses: 2,
    named: 1,
  },
];
