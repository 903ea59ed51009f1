// Tokens and credentials over time: renewed before they end, once at a time, replaced when they are refused, and of the least scope.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { startRegistry } from '../../src/dev/registry.ts';
import { CountersignError } from '../../src/model/error.ts';
import { createHttpClient } from '../../src/net/http.ts';
import { createIssuedCredentials, type Issued } from '../../src/registry/credentials/issued.ts';
import type { Credential, Credentials } from '../../src/registry/credentials/source.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { createRenewingCache, type Renewable } from '../../src/registry/renewing-cache.ts';
import { eventually, inspected, json, scriptedHttp } from './credential-world.ts';
import { bundle, isError, resolve, within } from './world.ts';

const login = { username: 'robot', password: 'hunter2' } as const;
const right: Credential = { kind: 'basic', ...login };
const stale: Credential = { kind: 'basic', username: 'robot', password: 'of-yesterday' };

test('what is in use is renewed behind the scenes, once at a time, and nobody waits for it', async () => {
  const cache = createRenewingCache<string>(10, 30_000);
  const fetches: PromiseWithResolvers<Renewable<string>>[] = [];
  const fetch = () => {
    const next = Promise.withResolvers<Renewable<string>>();
    fetches.push(next);
    return next.promise;
  };
  const get = () => cache.get('key', within(30_000), fetch);
  const first = [get(), get(), get()];
  await eventually(() => assert.equal(fetches.length, 1));
  fetches[0]?.resolve({ value: 'one', keepMs: 600_000, renewMs: 0 });
  assert.deepEqual(await Promise.all(first), ['one', 'one', 'one']);
  assert.deepEqual([await get(), await get(), await get()], ['one', 'one', 'one'], 'while the renewal runs');
  assert.equal(fetches.length, 2);
  fetches[1]?.resolve({ value: 'two', keepMs: 600_000, renewMs: 600_000 });
  await eventually(async () => assert.equal(await get(), 'two'));
  assert.equal(fetches.length, 2);
  assert.equal(cache.held('key'), 'two');
  cache.drop('key');
  assert.equal(cache.held('key'), undefined);
});

test('a renewal that fails leaves what is still good, and is not made a storm of', async () => {
  const cache = createRenewingCache<string>(10, 30_000);
  let fetched = 0;
  const fetch = async (): Promise<Renewable<string>> => {
    fetched += 1;
    if (fetched > 1) throw new Error('down');
    return { value: 'one', keepMs: 600_000, renewMs: 0 };
  };
  for (let round = 0; round < 50; round++) assert.equal(await cache.get('key', within(30_000), fetch), 'one');
  assert.equal(fetched, 2);
});

test('issued credentials: no time told, none there, refused ones, and who never answers', async () => {
  const issued = createIssuedCredentials();
  let count = 0;
  const asked = { key: 'k', host: 'a.example', anew: false };
  const give = (of: Issued) => async (): Promise<Issued> => {
    count += 1;
    return of;
  };
  assert.deepEqual(await issued.get(asked, within(5_000), give({ credential: right })), right);
  assert.deepEqual(await issued.get(asked, within(5_000), give({ credential: stale })), right, 'kept');
  assert.deepEqual(await issued.get({ ...asked, anew: true }, within(5_000), give({ credential: stale })), right);
  assert.equal(count, 1, 'anew, but a moment after it was issued');
  assert.equal(await issued.get({ ...asked, key: 'none' }, within(5_000), give({ credential: undefined })), undefined);
  assert.equal(await issued.get({ ...asked, key: 'none' }, within(5_000), give({ credential: right })), undefined);
  assert.deepEqual(
    await issued.get({ ...asked, key: 'over' }, within(5_000), give({ credential: right, lifetimeMs: 0 })),
    right,
  );
  assert.deepEqual(
    await issued.get({ ...asked, key: 'over' }, within(5_000), give({ credential: stale, lifetimeMs: 0 })),
    stale,
  );

  const refusal = async (): Promise<never> => {
    count += 1;
    throw new CountersignError('failed_precondition', 'REGISTRY_CREDENTIAL_UNAVAILABLE', 'refused');
  };
  const before = count;
  for (let round = 0; round < 3; round++) {
    await assert.rejects(
      issued.get({ ...asked, key: 'refused' }, within(5_000), refusal),
      isError('failed_precondition'),
    );
  }
  assert.equal(count, before + 1);
  // Its own bound, and not the deadline of the request.
  const hanging = createIssuedCredentials(50).get(asked, within(60_000), (shared) => {
    const { promise, reject } = Promise.withResolvers<never>();
    shared.signal.addEventListener('abort', () => reject(shared.signal.reason));
    return promise;
  });
  await assert.rejects(hanging, isError('unavailable', 'REGISTRY_CREDENTIAL_UNAVAILABLE'));
});

/** Credentials that were rotated: what is kept is stale, and the new ones come when those are refused. */
const rotated = (): { readonly credentials: Credentials; readonly refused: Credential[] } => {
  const refused: Credential[] = [];
  return {
    refused,
    credentials: (_, __, wrong) => {
      if (wrong !== undefined) refused.push(wrong);
      return refused.length > 0 ? right : stale;
    },
  };
};

test('rotated credentials: those refused are asked for anew, and the request succeeds', async (t) => {
  const digest = `sha256:${'a'.repeat(64)}` as const;
  const descriptor = { mediaType: 'application/vnd.oci.image.index.v1+json', digest, size: 10 };
  for (const kind of ['basic', 'bearer'] as const) {
    const server = await startRegistry({ auth: { kind, ...login } });
    const plainHttpHosts = ['127.0.0.1'];
    const { credentials, refused } = rotated();
    const registry = createRegistry({
      http: createHttpClient({ plainHttpHosts }),
      credentials,
      plainHttpHosts,
      tries: 1,
    });
    t.after(() => Promise.all([registry.close(), server.close()]));
    const image = { registry: server.host, repository: 'acme/app', descriptor };
    const attach = () => registry.attach(image, bundle('b1'), undefined, within(10_000));
    if (kind === 'basic') {
      // The first answer to the challenge is the stale one; the request that carried it is not made again by itself.
      await assert.rejects(attach(), isError('failed_precondition', 'REGISTRY_ACCESS_DENIED'));
    }
    assert.equal((await attach()).by, 'referrer', kind);
    assert.deepEqual(refused, [stale], kind);
  }
});

test('credentials that are refused and cannot be had anew are told as such, once', async (t) => {
  for (const kind of ['basic', 'bearer'] as const) {
    const server = await startRegistry({ auth: { kind, ...login } });
    const plainHttpHosts = ['127.0.0.1'];
    const http = createHttpClient({ plainHttpHosts });
    const registry = createRegistry({ http, credentials: () => stale, plainHttpHosts, tries: 1 });
    t.after(() => Promise.all([registry.close(), server.close()]));
    await assert.rejects(resolve(registry, `${server.host}/acme/app:v1`), (error) => {
      assert.doesNotMatch(inspected(error), /of-yesterday|b2YteWVzdGVyZGF5/);
      return isError('failed_precondition', 'REGISTRY_ACCESS_DENIED')(error);
    });
    assert.ok(server.requests.length <= 4, `${server.requests.length} requests`);
  }
});

/** Answers a challenge with a token that names its scope, and says that it may do anything. */
const generous = () =>
  scriptedHttp(({ url, headers, method }) => {
    const { origin, pathname, searchParams } = new URL(url);
    if (origin === 'https://auth.example') {
      const token = Buffer.from(searchParams.get('scope') ?? '').toString('hex');
      return json({ token, expires_in: 3_600, scope: 'repository:*:* registry:catalog:*' });
    }
    const challenge = `Bearer realm="https://auth.example/token",service="s",scope="repository:*:*"`;
    if (headers['authorization'] === undefined) return { status: 401, headers: { 'www-authenticate': challenge } };
    return method === 'HEAD' || pathname.includes('manifests') ? { status: 404 } : { status: 202 };
  });

test('a token is for one repository and what is done there, however much the service grants', async () => {
  const http = generous();
  const registry = createRegistry({ http, credentials: () => right, plainHttpHosts: [], tries: 1 });
  for (const repository of ['acme/one', 'acme/two', 'acme/one']) {
    await assert.rejects(
      resolve(registry, `registry.example/${repository}:v1`),
      isError('not_found', 'IMAGE_NOT_FOUND'),
    );
  }
  const tokens = http.asked.filter(({ url }) => url.startsWith('https://auth.example'));
  assert.deepEqual(
    tokens.map(({ url }) => new URL(url).searchParams.get('scope')),
    ['repository:acme/one:pull', 'repository:acme/two:pull'],
  );
  for (const { url, headers } of http.asked.filter(({ url }) => url.startsWith('https://registry.example'))) {
    const authorization = headers['authorization'];
    if (authorization === undefined) continue;
    const scope = Buffer.from(authorization.slice('Bearer '.length), 'hex').toString();
    assert.ok(url.includes(`/v2/${scope.split(':')[1]}/`), `${scope} was sent to ${url}`);
  }
});

test('no credentials go over plain http to a host that is not named for it, and to no other host or port', async (t) => {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization ?? '');
    const realm = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
    response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end();
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const asked: string[] = [];
  const credentials: Credentials = (at) => {
    asked.push(at);
    return right;
  };
  // Not named: https alone is tried, which this is not.
  const http = createHttpClient({ plainHttpHosts: [] });
  const registry = createRegistry({ http, credentials, plainHttpHosts: [], tries: 1 });
  t.after(() => registry.close());
  await assert.rejects(resolve(registry, `${host}/acme/app:v1`), isError('unavailable', 'TLS_FAILED'));
  assert.deepEqual([seen, asked], [[], []]);
});
