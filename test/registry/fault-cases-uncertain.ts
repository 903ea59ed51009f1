// What a registry may have stored, and says nothing certain of.
import { answer, countOf, denied, down, late, ociIndex, paths, type FaultCase } from './fault-case.ts';
import type { Rule } from './fault-registry.ts';

const once = (rule: Omit<Rule, 'times'>): Rule => ({ ...rule, times: 1 });

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
