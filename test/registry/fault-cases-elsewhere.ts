// Redirects and upload locations: where a registry would send its client.
import assert from 'node:assert/strict';
import {
  answer,
  bearer,
  challenged,
  countOf,
  denied,
  egress,
  type FaultCase,
  locked,
  nonsense,
  paths,
  redirect,
  tokenService,
} from './fault-case.ts';
import type { FaultWorld } from './fault-world.ts';

const inward: readonly (readonly [string, string])[] = [
  ['the metadata service', 'http://169.254.169.254/latest/meta-data/'],
  ['the metadata service over https', 'https://169.254.169.254/'],
  ['a private address', 'https://10.0.0.1/'],
  ['another loopback address over https', 'https://127.0.0.9/'],
  ['loopback by name', 'https://localhost:1/'],
  ['[::1]', 'https://[::1]/'],
  ['an IPv4-mapped address', 'https://[::ffff:10.0.0.1]/'],
  ['0.0.0.0', 'https://0.0.0.0/'],
  ['a file', 'file:///etc/passwd'],
  ['no URL', 'http://['],
];

export const redirects: readonly FaultCase[] = [
  ...inward.map(
    ([name, location]): FaultCase => ({
      name: `manifest redirected to ${name}`,
      rules: (world) => [locked(world), { ...paths.image, fault: redirect(location) }],
      expected: egress,
    }),
  ),
  {
    name: 'manifest redirected to a host that nobody named',
    rules: (world) => [
      locked(world),
      { ...paths.image, fault: redirect(`${world.stranger.origin}/v2/acme/app/manifests/v1`) },
    ],
    expected: egress,
  },
  {
    name: 'manifest redirected to another host: followed without the credentials',
    rules: (world) => [
      locked(world),
      { ...paths.image, fault: redirect(`${world.other.origin}/v2/acme/app/manifests/v1`) },
    ],
    expected: 'signed',
    check: (world) => assert.deepEqual(world.other.authorizations, [undefined]),
  },
  {
    name: 'manifest redirected to another host that asks for credentials: none',
    rules: (world) => [locked(world), { ...paths.image, fault: redirect(`${world.other.origin}/wants-credentials`) }],
    expected: denied,
    check: (world) => assert.deepEqual(world.other.authorizations, [undefined]),
  },
  {
    name: 'manifest of an open registry redirected to another host that asks for credentials: none',
    rules: (world) => [{ ...paths.image, fault: redirect(`${world.other.origin}/wants-credentials`) }],
    expected: denied,
    check: (world) => assert.deepEqual(world.other.authorizations, [undefined]),
  },
  {
    name: 'blob redirected to another host: followed without the credentials',
    signedBefore: true,
    rules: (world) => [
      locked(world),
      {
        ...paths.blob,
        fault: { kind: 'answer', status: 307, headers: ({ url }) => ({ location: `${world.other.origin}${url}` }) },
      },
    ],
    expected: 'existing',
    check: (world) => {
      assert.ok(world.other.authorizations.length > 0);
      assert.ok(world.other.authorizations.every((value) => value === undefined));
    },
  },
  {
    name: 'blob redirected to a host that nobody named',
    signedBefore: true,
    rules: (world) => [
      locked(world),
      {
        ...paths.blob,
        fault: { kind: 'answer', status: 302, headers: ({ url }) => ({ location: `${world.stranger.origin}${url}` }) },
      },
    ],
    expected: egress,
  },
  {
    name: 'blob redirected to another host: followed without the token',
    signedBefore: true,
    rules: (world) => [
      challenged(world, bearer),
      tokenService,
      {
        ...paths.blob,
        fault: { kind: 'answer', status: 302, headers: ({ url }) => ({ location: `${world.other.origin}${url}` }) },
      },
    ],
    expected: 'existing',
    check: (world) => {
      assert.ok(world.other.authorizations.length > 0);
      assert.ok(world.other.authorizations.every((value) => value === undefined));
    },
  },
  {
    name: 'referrers redirected to another host: followed without the credentials',
    signedBefore: true,
    rules: (world) => [
      locked(world),
      {
        ...paths.referrers,
        fault: { kind: 'answer', status: 307, headers: ({ url }) => ({ location: `${world.other.origin}${url}` }) },
      },
    ],
    expected: 'existing',
    check: (world) => assert.deepEqual(world.other.authorizations, [undefined]),
  },
  ...(
    [
      ['a private address', 'https://10.0.0.1/'],
      ['the metadata service', 'http://169.254.169.254/latest/'],
      ['no URL', 'http://['],
    ] as const
  ).flatMap(([name, location]) =>
    (['blob', 'referrers', 'signatureTag'] as const).map(
      (where): FaultCase => ({
        name: `${where} redirected to ${name}`,
        signedBefore: true,
        rules: (world) => [locked(world), { ...paths[where], fault: redirect(location, 302) }],
        expected: egress,
      }),
    ),
  ),
  {
    name: 'blob redirected from https to http',
    tls: true,
    signedBefore: true,
    rules: (world) => [
      locked(world),
      {
        ...paths.blob,
        fault: { kind: 'answer', status: 307, headers: ({ url }) => ({ location: `${world.other.origin}${url}` }) },
      },
    ],
    expected: egress,
    check: (world) => assert.equal(world.other.connections(), 0),
  },
  ...[301, 303, 308].map(
    (status): FaultCase => ({
      name: `manifest redirected with ${status} within the registry`,
      rules: () => [{ ...paths.image, times: 2, fault: redirect('/v2/acme/app/manifests/v1', status) }],
      expected: 'signed',
    }),
  ),
  {
    name: 'a redirect that nobody knows (300)',
    rules: () => [{ ...paths.image, fault: redirect('/v2/acme/app/manifests/v1', 300) }],
    expected: nonsense,
  },
  {
    name: 'manifest redirected from https to http',
    tls: true,
    rules: (world) => [
      locked(world),
      { ...paths.image, fault: redirect(`${world.other.origin}/v2/acme/app/manifests/v1`) },
    ],
    expected: egress,
    check: (world) => assert.equal(world.other.connections(), 0),
  },
  {
    name: 'a loop of fifty redirects: five are followed',
    rules: (world) => [
      locked(world),
      { method: 'HEAD', path: /\/manifests\/v1/, times: 50, fault: redirect('/v2/acme/app/manifests/v1') },
    ],
    expected: egress,
    // The first one was asked for its credentials.
    check: (world) => assert.equal(countOf(world, 'HEAD', /v1$/), 7),
  },
  {
    name: 'five redirects, and then the image',
    rules: () => [{ ...paths.image, times: 5, fault: redirect('/v2/acme/app/manifests/v1', 302) }],
    expected: 'signed',
  },
  {
    name: 'a redirect without Location',
    rules: () => [{ ...paths.image, fault: answer(307) }],
    expected: nonsense,
  },
  {
    name: 'upload redirected to a host that nobody named: not followed',
    rules: (world) => [locked(world), { ...paths.startUpload, fault: redirect(`${world.stranger.origin}/upload`) }],
    expected: nonsense,
    keyUses: 2,
  },
  {
    name: 'the end of an upload redirected to another host: not followed',
    registry: { wholeUpload: false },
    rules: (world) => [locked(world), { ...paths.finishUpload, fault: redirect(`${world.other.origin}/upload`) }],
    expected: nonsense,
    keyUses: 2,
    check: (world) => assert.equal(world.other.connections(), 0),
  },
  {
    name: 'manifest push redirected to another host: not followed',
    rules: (world) => [locked(world), { ...paths.putBundle, fault: redirect(`${world.other.origin}/take-it`) }],
    expected: nonsense,
    keyUses: 2,
    named: 1,
    check: (world) => assert.equal(world.other.connections(), 0),
  },
];

const sessionAt = (
  location: (world: FaultWorld) => string,
  name: string,
  expected: FaultCase['expected'],
): FaultCase => ({
  name: `upload Location: ${name}`,
  registry: { wholeUpload: false },
  rules: (world) => [locked(world), { ...paths.startUpload, fault: answer(202, { location: location(world) }) }],
  expected,
  keyUses: 2,
  check: (world) => assert.equal(world.other.connections(), 0),
});

export const locations: readonly FaultCase[] = [
  sessionAt((world) => `${world.stranger.origin}/upload`, 'a host that nobody named', egress),
  sessionAt((world) => `${world.other.origin}/upload`, 'another host that is named', egress),
  sessionAt(() => 'https://10.0.0.1/upload', 'a private address', egress),
  sessionAt(() => 'http://169.254.169.254/upload', 'the metadata service', egress),
  sessionAt((world) => `https://${world.host}/upload`, 'the same port over https', egress),
  sessionAt(() => 'http://[', 'no URL', nonsense),
  sessionAt(() => 'file:///tmp/upload', 'a file', egress),
  {
    name: 'upload Location: absent',
    registry: { wholeUpload: false },
    rules: () => [{ ...paths.startUpload, fault: answer(202) }],
    expected: nonsense,
    keyUses: 2,
  },
  {
    name: 'upload Location: http at an https registry, asked over https',
    tls: true,
    registry: { wholeUpload: false },
    rules: (world) => [
      {
        method: 'POST',
        path: /\/blobs\/uploads\/$/,
        fault: {
          kind: 'headers',
          headers: ({ location = '' }) => ({ location: `http://${world.host}${location}` }),
        },
      },
    ],
    expected: 'signed',
  },
];
