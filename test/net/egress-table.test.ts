import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CountersignError } from '../../src/model/error.ts';
import { createHttpClient } from '../../src/net/http.ts';
import { bundle } from '../registry/world.ts';
import { type EgressWorld, startEgressWorld } from './egress-world.ts';

/** Spellings of hosts that must not be reached: a literal, or a name with the addresses that it resolves to. */
const literals: readonly string[] = [
  // Loopback, in every spelling.
  '127.0.0.1',
  '127.0.0.1.',
  '127.1',
  '127.0.1',
  '127.8.9.10',
  '2130706433',
  '017700000001',
  '0177.0.0.1',
  '0x7f000001',
  '0x7f.0x0.0x0.0x1',
  '0X7F.1',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::127.0.0.1]',
  '[::ffff:0:127.0.0.1]',
  'localhost',
  'LocalHost',
  'localhost.',
  'api.localhost',
  '127。0。0。1',
  '１２７.０.０.１',
  '①②⑦.0.0.1',
  'ⓛocalhost',
  'loc%61lhost',
  '127.0.0.%31',
  // Unspecified, which connects to this machine.
  '0.0.0.0',
  '0',
  '0x0',
  '0.1.2.3',
  '[::]',
  '[::ffff:0.0.0.0]',
  // Private, carrier-grade NAT, link-local, metadata.
  '10.0.0.1',
  '172.16.0.1',
  '172.31.255.254',
  '192.168.1.1',
  '167772161',
  '100.64.0.1',
  '100.100.100.200',
  '169.254.169.254',
  '169.254.170.2',
  '2852039166',
  '0xa9fea9fe',
  '0251.0376.0251.0376',
  '168.63.129.16',
  '192.0.0.192',
  '[::ffff:169.254.169.254]',
  '[::ffff:10.0.0.1]',
  '[fd00:ec2::254]',
  '[fc00::1]',
  '[fe80::1]',
  '[fec0::1]',
  '[fe80::1%25eth0]',
  '[::1%25lo]',
  '[::1%lo]',
  // Ways to IPv4 through IPv6.
  '[64:ff9b::127.0.0.1]',
  '[64:ff9b::a9fe:a9fe]',
  '[64:ff9b:1::7f00:1]',
  '[2002:7f00:1::]',
  '[2002:a9fe:a9fe::1]',
  '[2001:0:7f00:1::]',
  // Nobody's.
  '224.0.0.1',
  '239.255.255.250',
  '255.255.255.255',
  '240.0.0.1',
  '198.18.0.1',
  '192.0.2.1',
  '192.88.99.1',
  '[ff02::1]',
  '[100::1]',
  '[2001:db8::1]',
  '[5f00::1]',
  '[4000::1]',
  // A user name that looks like the host.
  'registry.example@127.0.0.1',
  'registry.example:443@169.254.169.254',
  '127.0.0.1\\@registry.example',
];

const names: Readonly<Record<string, readonly string[]>> = {
  'loopback.example': ['127.0.0.1'],
  'loopback6.example': ['::1'],
  'mapped.example': ['::ffff:127.0.0.1'],
  'unspecified.example': ['0.0.0.0'],
  'unspecified6.example': ['::'],
  'private.example': ['10.1.2.3'],
  'shared.example': ['100.64.1.2'],
  'both.example': ['192.168.0.7', 'fd12:3456::7'],
  'metadata.google.internal': ['169.254.169.254'],
  'instance-data.ec2.internal': ['fd00:ec2::254'],
  'printer.local': ['fe80::1%eth0', 'fe80::1'],
  'vault.svc.cluster.local': ['10.96.0.1'],
  'wire.example': ['168.63.129.16'],
  'nat64.example': ['64:ff9b::7f00:1'],
  'sixtofour.example': ['2002:7f00:1::1'],
  'teredo.example': ['2001:0:7f00:1::1'],
  'multicast.example': ['224.0.0.251'],
  'broadcast.example': ['255.255.255.255'],
  '127.0.0.1.nip.example': ['127.0.0.1'],
  'registry.example.evil.example': ['127.0.0.1'],
  'registry.example.': ['127.0.0.1'],
  'nonsense.example': ['not an address'],
};

const isTyped = (allowed: readonly string[]) => (error: unknown) => {
  assert(error instanceof CountersignError, String(error));
  assert(allowed.includes(error.reason), `${error.code} ${error.reason}: ${error.message}`);
  return true;
};

describe('hosts that must not be reached: no connection, and a typed error, wherever they are named', () => {
  let world: EgressWorld;
  before(async () => {
    world = await startEgressWorld(names);
  });
  after(() => world.close());

  /** By what names the host; the reasons that are right there. */
  const surfaces: Readonly<
    Record<string, { readonly reasons: readonly string[]; ask(host: string): Promise<unknown> }>
  > = {
    'an image reference': {
      reasons: ['INVALID_REQUEST', 'EGRESS_DENIED'],
      ask: (host) => world.resolve(`${host}:${world.trapPort}/acme/app:v1`),
    },
    'an image reference without a port': {
      // A word without a dot is no host there, but a part of a repository at Docker Hub, which has no address here.
      reasons: ['INVALID_REQUEST', 'EGRESS_DENIED', 'HOST_NOT_FOUND'],
      ask: (host) => world.resolve(`${host}/acme/app:v1`),
    },
    'the repository for signatures': {
      reasons: ['INVALID_REQUEST', 'EGRESS_DENIED'],
      ask: (host) => world.registry.attach(world.image, bundle('b'), `${host}:${world.trapPort}/a/b`, world.within()),
    },
    'the realm of a challenge': {
      reasons: ['AUTH_REALM_REFUSED', 'AUTH_CHALLENGE_INVALID', 'EGRESS_DENIED'],
      ask: (host) => {
        const challenge = `Bearer realm="${world.trap(host)}token"`;
        return world.answering(/./, 401, { 'www-authenticate': challenge }, () => world.attachments());
      },
    },
    'a redirect of the token service': {
      reasons: ['REGISTRY_ACCESS_DENIED'],
      ask: (host) => world.tokenRedirect(world.trap(host)),
    },
    'the Location of an upload': {
      reasons: ['EGRESS_DENIED', 'REGISTRY_RESPONSE_INVALID'],
      ask: (host) =>
        world.answering(/uploads/, 202, { location: world.trap(host) }, () =>
          world.registry.attach(world.image, bundle(host), undefined, world.within()),
        ),
    },
    'a redirect of a manifest': {
      reasons: ['EGRESS_DENIED'],
      ask: (host) =>
        world.answering(/manifests/, 307, { location: world.trap(host) }, () =>
          world.resolve(`${world.host}/acme/app:v1`),
        ),
    },
    'a redirect of a blob': {
      reasons: ['EGRESS_DENIED'],
      ask: (host) => world.answering(/blobs/, 302, { location: world.trap(host) }, () => world.attachments()),
    },
    'a link to the next page': {
      reasons: ['EGRESS_DENIED', 'REGISTRY_RESPONSE_INVALID'],
      ask: (host) =>
        world.answering(
          /referrers/,
          200,
          {
            'content-type': 'application/vnd.oci.image.index.v1+json',
            link: `<${world.trap(host)}>; rel="next"`,
          },
          () => world.attachments(),
        ),
    },
    'the jwks_uri of an issuer': {
      reasons: ['ISSUER_UNAVAILABLE'],
      ask: (host) => world.keysOf(world.trap(host)),
    },
    'a redirect of discovery': {
      reasons: ['ISSUER_UNAVAILABLE'],
      ask: (host) => world.keysBehindRedirect(world.trap(host)),
    },
    'a redirect that is followed': {
      reasons: ['EGRESS_DENIED'],
      ask: (host) => world.redirected(world.trap(host)),
    },
    'a redirect to plain http': {
      reasons: ['EGRESS_DENIED'],
      ask: (host) => world.redirected(world.trap(host).replace('https:', 'http:')),
    },
  };

  for (const [surface, { reasons, ask }] of Object.entries(surfaces)) {
    test(surface, async () => {
      const earlier = world.trapped();
      world.strayAttempts();
      for (const host of [...literals, ...Object.keys(names)]) {
        await assert.rejects(ask(host), isTyped(reasons), `${surface}: ${host}`);
        assert.deepEqual(world.strayAttempts(), [], `${surface}: ${host}`);
      }
      assert.equal(world.trapped(), earlier);
    });
  }

  test('the same without these addresses gets through, and a connection would have been seen', async () => {
    assert.equal((await world.resolve(`${world.host}/acme/app:v1`)).registry, world.host);
    assert.equal((await world.attachments()).length, 1);
    await world.keysOf(`${world.issuer}/jwks`);
    await world.redirected(`http://${world.host}/v2/`);
    const earlier = world.trapped();
    const careless = createHttpClient({ plainHttpHosts: [], allowPrivate: ['127.0.0.0/8'] });
    for (const host of ['127.0.0.1', 'localhost']) {
      const request = { method: 'GET', url: world.trap(host), headers: {}, maxBytes: 10 } as const;
      await assert.rejects(careless.request(request, world.within()));
      assert.deepEqual(world.strayAttempts(), [`127.0.0.1:${world.trapPort}`]);
    }
    await careless.close();
    assert.equal(world.trapped(), earlier + 2);
  });
});
