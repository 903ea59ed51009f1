import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findLink } from '../../src/registry/link.ts';

const page = new URL('https://registry.example/v2/acme/app/referrers/sha256:aa?n=10');
const next = (header: string): string | undefined | null => {
  const found = findLink(header, 'next', page);
  return found && found.pathname + found.search;
};
const wanted = '/v2/more?last=b';

test('a link to the next page, however RFC 8288 lets it be written', () => {
  for (const header of [
    '</v2/more?last=b>; rel="next"',
    '</v2/more?last=b>;rel=next',
    '</v2/more?last=b>; REL=NEXT',
    '</v2/more?last=b> ; rel = "next"',
    '</v2/more?last=b>\t;\trel\t=\tnext\t',
    '</v2/more?last=b>; title="page 2"; rel="next"',
    '</v2/more?last=b>; title="a, b; rel=\\"prev\\" <x>"; rel="next"',
    '</v2/more?last=b>; type=application/json; rel=next',
    "</v2/more?last=b>; title*=UTF-8''%e2%82%ac; rel=next; results",
    '</v2/more?last=b>; rel="last next"',
    '</v2/more?last=b>; rel="next"; rel="prev"',
    '</v2/more?last=b>;; rel="next";',
    '</v2/first>; rel="first", </v2/more?last=b>; rel="next", </v2/last>; rel="last"',
    ', </v2/a,b;c>; rel=prev,</v2/more?last=b>;rel=next,',
    '</v2/more?last=b>; rel="next", </v2/more?last=b>; rel="next"',
    '</v2/more?last=b>; rel="next"; anchor="?n=10"',
    '<https://registry.example/v2/more?last=b>; rel="next"',
    '<../../../more?last=b>; rel="next"',
  ]) {
    assert.equal(next(header), wanted, header);
  }
  assert.equal(next('</v2/a,b;c>; rel=next'), '/v2/a,b;c');
  assert.equal(next(`</v2/more?last=${'b'.repeat(7_000)}>; rel="next"`)?.length, 7_014);
});

test('no link to the next page', () => {
  for (const header of [
    '',
    ' , ',
    '</v2/more>; rel="prev"',
    '</v2/more>; rel="prev"; rel="next"',
    '</v2/more>; rel="nextpage"',
    '</v2/more>; rel=""; title="rel=next"',
    '</v2/more>; rel=prev; title="<x>; rel=next"',
  ]) {
    assert.equal(next(header), undefined, header);
  }
});

test('what cannot be understood is told so, and is never taken for the end', () => {
  for (const header of [
    '/v2/more; rel="next"',
    '</v2/more; rel="next"',
    '</v2/more> rel="next"',
    '</v2/more>; rel="next',
    '</v2/more>; rel="next" x',
    '</v2/more>; rel=',
    '</v2/more>; ="next"',
    '</v2/more>',
    '</v2/more>; title="next"',
    '<http://[>; rel="next"',
    '</v2/a>; rel="next", </v2/b>; rel="next"',
    '</v2/a>; rel="next", nonsense',
    '</v2/more>; rel="next"; anchor="/v2/other"',
    '</v2/\u0001>; rel="next"',
    `</v2/${'a'.repeat(9_000)}>; rel="next"`,
  ]) {
    assert.equal(next(header), null, header.slice(0, 60));
  }
});

test('whatever else stands in the header, the next page is found', () => {
  const text = fc.string({ unit: fc.constantFrom('a', ',', ';', '<', '>', '=', ' ', '"', '\\', 'rel=next') });
  const parameter = fc
    .tuple(fc.constantFrom('title', 'type', 'x'), text)
    .map(([name, value]) => `${name}="${value.replaceAll(/["\\]/g, '\\$&')}"`);
  const space = fc.constantFrom('', ' ', '\t', '  ');
  const link = (rel: string, target: string) =>
    fc
      .tuple(fc.array(parameter, { maxLength: 4 }), fc.nat(4), space, fc.boolean())
      .map(([parameters, at, gap, isQuoted]) =>
        [`<${target}>`, ...parameters.toSpliced(at, 0, isQuoted ? `rel="${rel}"` : `rel${gap}=${gap}${rel}`)].join(
          `${gap};${gap}`,
        ),
      );
  const others = fc.array(link('prev', '/v2/less'), { maxLength: 3 });
  fc.assert(
    fc.property(others, link('next', wanted), others, (before, one, after) => {
      assert.equal(next([...before, one, ...after].join(', ')), wanted);
    }),
  );
});
