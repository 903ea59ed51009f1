// Throttling, failures that pass or stay, and answers that come too late or not at all.
import assert from 'node:assert/strict';
import { answer, countOf, denied, down, type FaultCase, late, paths, refused } from './fault-case.ts';
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
  ...[499, 507, 522, 599].map(
    (status): FaultCase => ({
      name: `${status} once for the image: ${status < 500 ? 'told' : 'tried again'}`,
      rules: () => [once({ ...paths.image, fault: answer(status) })],
      expected: status < 500 ? refused('failed_precondition', 'REGISTRY_REFUSED') : 'signed',
    }),
  ),
  {
    name: '503 once, Retry-After a second: waited for',
    rules: () => [once({ ...paths.image, fault: answer(503, { 'retry-after': '1' }) })],
    expected: 'signed',
    check: (_, { ms }) => assert.ok(ms >= 990, `${ms}`),
  },
  {
    name: '503 for a day: told, not waited for',
    rules: () => [{ ...paths.image, fault: answer(503, { 'retry-after': '86400' }) }],
    expected: refused('unavailable', 'REGISTRY_UNAVAILABLE', 86_400_000),
    check: (world) => assert.equal(countOf(world, 'HEAD', /v1$/), 1),
  },
  {
    name: '429 twice at every step: two signatures and no more',
    rules: () =>
      [paths.image, paths.referrers, paths.startUpload, paths.putBundle, paths.putSignatureTag].map((where) => ({
        ...where,
        times: 2,
        fault: answer(429, { 'retry-after': '0' }),
      })),
    expected: 'signed',
    check: (world) => assert.ok(world.registry.seen.length < 40, `${world.registry.seen.length} requests`),
  },
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
  ...(['referrers', 'signatureTag'] as const).map(
    (where): FaultCase => ({
      name: `an answer that never ends, a byte at a time: ${where}`,
      rules: () => [{ ...paths[where], fault: { kind: 'drip' } }],
      deadlineMs: 1_500,
      expected: late,
    }),
  ),
  {
    name: 'an answer shorter than it says',
    rules: () => [
      { ...paths.referrers, fault: answer(200, { 'content-type': 'application/json', 'content-length': '1000' }, '{') },
    ],
    deadlineMs: 1_500,
    expected: late,
  },
  {
    name: 'the manifest of the bundle is refused once for a blob that is not there: uploaded again',
    rules: () => [
      once({
        ...paths.putBundle,
        fault: answer(404, { 'content-type': 'application/json' }, '{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}'),
      }),
    ],
    expected: 'signed',
  },
  {
    name: 'the .sig tag is refused for good for a blob that is not there',
    rules: () => [
      {
        ...paths.putSignatureTag,
        fault: answer(400, { 'content-type': 'application/json' }, '{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}'),
      },
    ],
    expected: refused('failed_precondition', 'REGISTRY_REFUSED'),
    keyUses: 2,
    check: (world) => assert.ok(countOf(world, 'PUT', /[.]sig$/) <= 4, `${countOf(world, 'PUT', /[.]sig$/)}`),
  },
  {
    name: 'no answer to the upload',
    rules: () => [{ ...paths.startUpload, fault: { kind: 'hang' } }],
    deadlineMs: 6_000,
    expected: late,
    keyUses: 2,
  },
];
