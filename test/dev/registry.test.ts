// The embedded registry by the OCI distribution specification, as a bare HTTP client sees it; the conformance tests of the
// specification run in test/peers.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { type DevRegistry, startRegistry } from '../../src/dev/registry.ts';

const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const digestOf = (content: string, algorithm = 'sha256'): string =>
  `${algorithm}:${createHash(algorithm).update(content).digest('hex')}`;

describe('the embedded registry', () => {
  let registry: DevRegistry;
  before(async () => {
    registry = await startRegistry({ chunkMinBytes: 4 });
  });
  after(() => registry.close());

  const ask = (method: string, path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(new URL(path, `http://${registry.host}`), { method, ...init });
  const statusOf = async (method: string, path: string): Promise<number> => (await ask(method, path)).status;
  const codeOf = async (response: Response): Promise<string | undefined> =>
    ((await response.json()) as { errors: { code: string }[] }).errors[0]?.code;
  const pushBlob = async (repository: string, content: string, digest = digestOf(content)): Promise<string> => {
    const pushed = await ask('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, { body: content });
    assert.equal(pushed.status, 201);
    return digest;
  };
  const pushManifest = async (repository: string, reference: string, more: object = {}) => {
    const config = {
      mediaType: 'application/vnd.oci.empty.v1+json',
      digest: await pushBlob(repository, '{}'),
      size: 2,
    };
    const body = JSON.stringify({ schemaVersion: 2, mediaType: manifestType, config, layers: [], ...more });
    const path = reference.replace('DIGEST', digestOf(body)).replace('SHA512', digestOf(body, 'sha512'));
    const response = await ask('PUT', `/v2/${repository}/manifests/${path}`, {
      headers: { 'content-type': manifestType },
      body,
    });
    return { response, body, digest: digestOf(body) };
  };

  it('a tag that is deleted leaves its manifest; a manifest that is deleted takes its tags along', async () => {
    const { digest } = await pushManifest('acme/gone', 'v1');
    await pushManifest('acme/gone', 'v2');
    assert.equal(await statusOf('DELETE', '/v2/acme/gone/manifests/v1'), 202);
    assert.equal(await statusOf('HEAD', '/v2/acme/gone/manifests/v1'), 404);
    assert.equal(await statusOf('HEAD', `/v2/acme/gone/manifests/${digest}`), 200);
    assert.equal(await statusOf('DELETE', `/v2/acme/gone/manifests/${digest}`), 202);
    assert.equal(await statusOf('HEAD', '/v2/acme/gone/manifests/v2'), 404);
    const again = await ask('DELETE', `/v2/acme/gone/manifests/${digest}`);
    assert.deepEqual([again.status, await codeOf(again)], [404, 'MANIFEST_UNKNOWN']);
    assert.deepEqual(await (await ask('GET', '/v2/acme/gone/tags/list')).json(), { name: 'acme/gone', tags: [] });
  });

  it('a manifest that is deleted is no referrer any more, and a blob can be deleted as well', async () => {
    const subject = { mediaType: manifestType, digest: digestOf('subject'), size: 7 };
    const { response, digest } = await pushManifest('acme/referred', 'DIGEST', { subject, artifactType: 'a/b' });
    assert.equal(response.headers.get('oci-subject'), subject.digest);
    const list = async (query = '') => {
      const answer = await ask('GET', `/v2/acme/referred/referrers/${subject.digest}${query}`);
      const { manifests } = (await answer.json()) as { manifests: { digest: string }[] };
      return { digests: manifests.map((each) => each.digest), filters: answer.headers.get('oci-filters-applied') };
    };
    assert.deepEqual(await list(), { digests: [digest], filters: null });
    assert.deepEqual(await list('?artifactType=a/b'), { digests: [digest], filters: 'artifactType' });
    assert.deepEqual(await list('?artifactType=c/d'), { digests: [], filters: 'artifactType' });
    assert.equal(await statusOf('DELETE', `/v2/acme/referred/manifests/${digest}`), 202);
    assert.deepEqual(await list(), { digests: [], filters: null });

    const blob = `/v2/acme/referred/blobs/${await pushBlob('acme/referred', 'a blob')}`;
    assert.equal(await statusOf('DELETE', blob), 202);
    const gone = await ask('GET', blob);
    assert.deepEqual([gone.status, await codeOf(gone)], [404, 'BLOB_UNKNOWN']);
  });

  for (const [range, status, body, contentRange] of [
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=-20', 206, '0123456789', 'bytes 0-9/10'],
    ['bytes=8-20', 206, '89', 'bytes 8-9/10'],
    ['bytes=10-', 416, undefined, 'bytes */10'],
    ['bytes=4-2', 416, undefined, 'bytes */10'],
    ['bytes=-0', 416, undefined, 'bytes */10'],
    ['bytes=0-1,4-5', 200, '0123456789', null],
    ['lines=1-2', 200, '0123456789', null],
  ] as const) {
    it(`a blob by ${range}: ${status}`, async () => {
      const digest = await pushBlob('acme/ranges', '0123456789');
      const answer = await ask('GET', `/v2/acme/ranges/blobs/${digest}`, { headers: { range } });
      assert.deepEqual([answer.status, answer.headers.get('content-range')], [status, contentRange]);
      if (body !== undefined) assert.equal(await answer.text(), body);
    });
  }

  it('an upload in chunks: in order, long enough but for the last, with a state that can be asked and cancelled', async () => {
    const content = '0123456789';
    const begin = async (): Promise<string> => {
      const begun = await ask('POST', '/v2/acme/chunks/blobs/uploads/');
      assert.deepEqual([begun.status, begun.headers.get('oci-chunk-min-length')], [202, '4']);
      return begun.headers.get('location') ?? '';
    };
    const patch = (location: string, from: number, to: number, more: object = {}) =>
      ask('PATCH', location, {
        headers: { 'content-range': `${from}-${to}`, ...more },
        body: content.slice(from, to + 1),
      });
    const upload = await begin();
    const first = await patch(upload, 0, 4);
    assert.deepEqual([first.status, first.headers.get('range')], [202, '0-4']);
    for (const wrong of [await patch(upload, 0, 4), await patch(upload, 6, 9), await patch(upload, 5, 20)]) {
      assert.deepEqual([wrong.status, wrong.headers.get('range')], [416, '0-4']);
      assert.equal(await codeOf(wrong), 'BLOB_UPLOAD_INVALID');
    }
    const state = await ask('GET', upload);
    assert.deepEqual([state.status, state.headers.get('range')], [204, '0-4']);
    const digest = digestOf(content);
    const ended = await ask('PUT', `${upload}?digest=${digest}`, {
      headers: { 'content-range': '5-9' },
      body: content.slice(5),
    });
    assert.deepEqual([ended.status, ended.headers.get('docker-content-digest')], [201, digest]);
    assert.equal(await (await ask('GET', ended.headers.get('location') ?? '')).text(), content);

    const short = await begin();
    assert.equal((await patch(short, 0, 1)).status, 202);
    assert.equal((await patch(short, 2, 9)).status, 416, 'what follows a chunk that is too short');
    assert.equal(await statusOf('DELETE', short), 204);
    const cancelled = await ask('GET', short);
    assert.deepEqual([cancelled.status, await codeOf(cancelled)], [404, 'BLOB_UPLOAD_UNKNOWN']);
  });

  it('a blob is mounted from a repository that is named, or from any; what is not there is uploaded', async () => {
    const digest = await pushBlob('acme/from', 'shared');
    for (const [query, status] of [
      [`mount=${digest}&from=acme/from`, 201],
      [`mount=${digest}`, 201],
      [`mount=${digest}&from=acme/elsewhere`, 202],
      [`mount=${digestOf('absent')}`, 202],
    ] as const) {
      assert.equal(await statusOf('POST', `/v2/acme/to/blobs/uploads/?${query}`), status, query);
    }
    assert.equal(await statusOf('HEAD', `/v2/acme/to/blobs/${digest}`), 200);
  });

  it('sha512 digests name blobs and manifests; a digest that does not fit is refused', async () => {
    const blob = await pushBlob('acme/long', 'content', digestOf('content', 'sha512'));
    assert.equal(await statusOf('HEAD', `/v2/acme/long/blobs/${blob}`), 200);
    const { response, body } = await pushManifest('acme/long', 'SHA512?tag=a&tag=b');
    assert.deepEqual(
      [response.status, response.headers.get('docker-content-digest'), response.headers.get('oci-tag')],
      [201, digestOf(body, 'sha512'), 'a, b'],
    );
    assert.equal(
      (await ask('HEAD', '/v2/acme/long/manifests/b')).headers.get('docker-content-digest'),
      digestOf(body, 'sha512'),
    );
    const wrong = await ask('POST', `/v2/acme/long/blobs/uploads/?digest=${digestOf('other')}`, { body: 'content' });
    assert.deepEqual([wrong.status, await codeOf(wrong)], [400, 'DIGEST_INVALID']);
    const { response: refused } = await pushManifest('acme/long', digestOf('other'));
    assert.deepEqual([refused.status, await codeOf(refused)], [400, 'DIGEST_INVALID']);
  });

  it('layers that are fetched elsewhere need not be there, others must', async () => {
    const layer = { digest: digestOf('far away'), size: 8, mediaType: 'application/vnd.oci.image.layer.v1.tar' };
    const { response: refused } = await pushManifest('acme/layers', 'v1', { layers: [layer] });
    assert.deepEqual([refused.status, await codeOf(refused)], [404, 'MANIFEST_BLOB_UNKNOWN']);
    const foreign = { ...layer, mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar' };
    assert.equal((await pushManifest('acme/layers', 'v1', { layers: [foreign] })).response.status, 201);
  });

  it('tags come in pages, each with a link to the next', async () => {
    for (const tag of ['c', 'a', 'd', 'b']) await pushManifest('acme/tags', tag);
    const pages: string[][] = [];
    let next: string | undefined = '/v2/acme/tags/tags/list?n=3';
    while (next !== undefined) {
      const answer: Response = await ask('GET', next);
      pages.push(((await answer.json()) as { tags: string[] }).tags);
      next = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1];
    }
    assert.deepEqual(pages, [['a', 'b', 'c'], ['d']]);
    const after = await ask('GET', '/v2/acme/tags/tags/list?last=b');
    assert.deepEqual(await after.json(), { name: 'acme/tags', tags: ['c', 'd'] });
    assert.equal(
      ((await (await ask('GET', '/v2/acme/tags/tags/list?n=0')).json()) as { tags: string[] }).tags.length,
      0,
    );
    const bad = await ask('GET', '/v2/acme/tags/tags/list?n=some');
    assert.deepEqual([bad.status, await codeOf(bad)], [400, 'PAGINATION_NUMBER_INVALID']);
    const unknown = await ask('GET', '/v2/acme/never/tags/list');
    assert.deepEqual([unknown.status, await codeOf(unknown)], [404, 'NAME_UNKNOWN']);
  });

  for (const [method, path, status] of [
    ['GET', '/v2/UPPER/tags/list', 404],
    ['GET', '//', 404],
    ['GET', '/v2/acme/odd/manifests/%zz', 404],
    ['GET', '/v2/acme/odd/manifests/%ff', 404],
    ['GET', '/v2/acme/odd/blobs/sha256:short', 400],
    ['GET', '/v2/acme/odd/referrers/latest', 400],
    ['POST', '/v2/acme/tags/tags/list', 405],
  ] as const) {
    it(`${method} ${path} is refused with ${status}, and an error in JSON`, async () => {
      const answer = await fetch(`http://${registry.host}${path}`, { method });
      assert.equal(answer.status, status);
      assert.match((await codeOf(answer)) ?? '', /^[A-Z_]+$/);
    });
  }
});
