// Links to further pages, lists without an end, and URLs in manifests.
import assert from 'node:assert/strict';
import {
  answer,
  countOf,
  egress,
  nonsense,
  ociIndex,
  ociManifest,
  otherDigest,
  paths,
  refused,
  tooLarge,
  locked,
  redirect,
  type FaultCase,
} from './fault-case.ts';
import type { FaultWorld } from './fault-world.ts';

const list = (manifests: readonly object[]): string =>
  JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests });
const page = (link: (url: string) => string, body = list([])) =>
  ({
    kind: 'answer',
    status: 200,
    headers: ({ url = '' }: { readonly url?: string | undefined }) => ({ 'content-type': ociIndex, link: link(url) }),
    body,
  }) as const;
const tooMany = refused('failed_precondition', 'TOO_MANY_REFERRERS');
const entry = (index: number) => ({
  mediaType: ociManifest,
  digest: `sha256:${index.toString(16).padStart(64, '0')}`,
  size: 10,
  artifactType: 'application/spdx+json',
});
const pages = (world: FaultWorld): number => countOf(world, 'GET', /\/referrers\//);

/** The bundle that is there already is on the second page: who overlooks the link signs twice. */
const linked = (name: string, link: (next: string) => string, expected: FaultCase['expected'] = 'existing') =>
  ({
    name: `Link: ${name}`,
    signedBefore: true,
    rules: () => [{ ...paths.referrers, times: 1, fault: page((url) => link(`${url}?n=1`)) }],
    expected,
    check: (world) => assert.equal(pages(world), expected === 'existing' ? 2 : 1),
  }) satisfies FaultCase;

export const links: readonly FaultCase[] = [
  linked('a parameter before rel', (next) => `<${next}>; title="more"; rel="next"`),
  linked('a quoted comma and semicolon before rel', (next) => `<${next}>; title="a, b; c"; rel="next"`),
  linked('without spaces or quotes', (next) => `<${next}>;rel=next`),
  linked('spaces and tabs everywhere', (next) => `\t<${next}> \t;\t rel = "next" `),
  linked('REL in upper case', (next) => `<${next}>; REL="NEXT"`),
  linked('two relations', (next) => `<${next}>; rel="last next"`),
  linked('the last of three links', (next) => `</v2/>; rel="first", </v2/a,b>; rel=prev, <${next}>; rel="next"`),
  linked('relative', (next) => `<${next.replace(/.*[?]/, '?')}>; rel="next"`),
  linked('more than 4,096 characters', (next) => `<${next}&last=${'x'.repeat(6_000)}>; rel="next"`),
  linked('more than 8,192 characters', (next) => `<${next}&last=${'x'.repeat(9_000)}>; rel="next"`, nonsense),
  linked('an unterminated quote', (next) => `<${next}>; rel="next`, nonsense),
  linked('without brackets', (next) => `${next}; rel="next"`, nonsense),
  linked('without rel', (next) => `<${next}>`, nonsense),
  linked('two next pages', (next) => `<${next}>; rel="next", <${next}&other>; rel="next"`, nonsense),
  linked('about another page', (next) => `<${next}>; rel="next"; anchor="/v2/"`, nonsense),
  {
    ...linked('the list has a general media type', () => ''),
    rules: () => [{ ...paths.referrers, fault: { kind: 'headers', headers: { 'content-type': 'application/json' } } }],
    check: (world) => assert.equal(pages(world), 1),
  },
  {
    name: 'Link: endless',
    rules: () => {
      let next = 0;
      return [{ ...paths.referrers, fault: page((url) => `<${url.split('?')[0]}?page=${++next}>; rel="next"`) }];
    },
    expected: tooMany,
    check: (world) => assert.equal(pages(world), 20),
  },
  {
    name: 'Link: to itself',
    rules: () => [{ ...paths.referrers, fault: page((url) => `<${url}>; rel="next"`) }],
    expected: tooMany,
    check: (world) => assert.equal(pages(world), 20),
  },
  {
    name: 'Link: to a host that nobody named',
    rules: (world) => [
      locked(world),
      { ...paths.referrers, fault: page((url) => `<${world.stranger.origin}${url}>; rel="next"`) },
    ],
    expected: egress,
  },
  {
    name: 'Link: to another host that is named',
    rules: (world) => [
      locked(world),
      { ...paths.referrers, fault: page((url) => `<${world.other.origin}${url}>; rel="next"`) },
    ],
    expected: egress,
    check: (world) => assert.equal(world.other.connections(), 0),
  },
  {
    name: 'Link: to the metadata service',
    rules: () => [{ ...paths.referrers, fault: page(() => '<http://169.254.169.254/>; rel="next"') }],
    expected: egress,
  },
  {
    name: 'Link: no URL',
    rules: () => [{ ...paths.referrers, fault: page(() => '<http://[>; rel="next"') }],
    expected: nonsense,
  },
  {
    name: 'Link: three pages, and then the end',
    rules: () => [{ ...paths.referrers, times: 3, fault: page((url) => `<${url.split('?')[0]}?n=1>; rel="next"`) }],
    expected: 'signed',
  },
  {
    name: 'a bundle that is listed and not there: not taken for none',
    signedBefore: true,
    rules: () => [{ method: 'GET', path: /\/manifests\/sha256:/, fault: answer(404) }],
    expected: { ...nonsense, retryMs: [1, 1_000] },
  },
  {
    name: 'a bundle that is listed and there a moment later',
    signedBefore: true,
    rules: () => [{ method: 'GET', path: /\/manifests\/sha256:/, times: 1, fault: answer(404) }],
    expected: 'existing',
  },
  {
    name: '1,001 referrers in one page',
    rules: () => [
      { ...paths.referrers, fault: page(() => '', list(Array.from({ length: 1_001 }, (_, index) => entry(index)))) },
    ],
    expected: tooMany,
  },
  {
    name: 'a list of a million',
    rules: () => [{ ...paths.referrers, fault: { kind: 'flood', bytes: 150_000_000 } }],
    expected: tooLarge,
  },
  {
    name: 'the page that a link leads to is redirected to a host that nobody named',
    rules: (world) => [
      { ...paths.referrers, times: 1, fault: page((url) => `<${url}?n=1>; rel="next"`) },
      { ...paths.referrers, fault: redirect(`${world.stranger.origin}/`) },
    ],
    expected: egress,
  },
  {
    name: 'foreign-layer URLs in the .sig tag: never asked (CVE-2020-15157)',
    rules: (world) => [
      locked(world),
      {
        ...paths.signatureTag,
        fault: answer(
          200,
          { 'content-type': ociManifest },
          JSON.stringify({
            schemaVersion: 2,
            mediaType: ociManifest,
            config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: otherDigest, size: 2 },
            layers: [
              {
                mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
                digest: otherDigest,
                size: 20,
                urls: [`${world.stranger.origin}/layer`],
                annotations: { 'dev.cosignproject.cosign/signature': 'AA==' },
              },
            ],
          }),
        ),
      },
    ],
    expected: refused('not_found', 'REGISTRY_NOT_FOUND'),
  },
];
