import type { Context } from '../model/context.ts';
import { type Digest, sha256 } from '../model/digest.ts';
import type { HttpResponse } from '../net/port.ts';
import { malformed, statusError, unusable } from './errors.ts';
import { findLink } from './link.ts';
import { type ManifestDescriptor, parseIndex, parseJsonObject } from './manifest.ts';
import { mediaTypeOf, ociIndex } from './media-types.ts';
import { nothingSkimmed, type Skimmed } from './skim.ts';
import type { Target } from './target.ts';
import type { Transport } from './transport.ts';

/** Most manifests that may refer to one image, and pages over which they are listed. */
export const maxReferrers = 1_000;
const maxPages = 20;
const maxPageBytes = 4 * 1024 * 1024;

/** What refers to a digest: the entries that were read, and how many were not. */
export type Listed = { readonly entries: readonly ManifestDescriptor[]; readonly skimmed: Skimmed };

/**
 * Lists what refers to a digest (distribution-spec "Listing Referrers"); undefined when the registry has no referrers API.
 * No artifactType filter is sent: registries and older tools label bundles differently. Links (RFC 8288) are followed on the same
 * origin only; one that is not understood is `unavailable`, reason `REGISTRY_RESPONSE_INVALID`. A page that `skim` counts is not
 * read. More than 1,000 entries or 20 pages is `failed_precondition`, reason `TOO_MANY_REFERRERS`.
 */
export const listReferrers = async (
  transport: Transport,
  target: Target,
  digest: Digest,
  context: Context,
  skim?: (page: Uint8Array, url: string) => Skimmed | undefined,
): Promise<Listed | undefined> => {
  const entries: ManifestDescriptor[] = [];
  let skimmed = nothingSkimmed;
  let url: URL | undefined = transport.url(target, `referrers/${digest}`);
  for (let page = 0; url !== undefined; page++) {
    if (page === maxPages) throw tooMany(target, digest);
    const asked: URL = url;
    const response = await transport.retried(target, context, async () => {
      const headers = { accept: ociIndex };
      const request = {
        method: 'GET',
        url: asked.href,
        headers,
        maxBytes: maxPageBytes,
        followRedirects: true,
      } as const;
      const answer = await transport.send(target, 'pull', request, context);
      if (answer.status !== 200 && !(page === 0 && isAbsent(answer.status))) {
        throw statusError(answer, target, `list the referrers of ${digest}`);
      }
      return answer;
    });
    // A registry without the API may answer with a page of its own. What is a list by its content is one, whatever its header says.
    if (response.status !== 200 || (page === 0 && !isList(response))) return undefined;
    const passed = skim?.(response.body, asked.href);
    if (passed === undefined) {
      const stored = { mediaType: ociIndex, digest: sha256(response.body), body: response.body, etag: undefined };
      entries.push(...(parseIndex(stored, target).manifests ?? []));
    } else {
      skimmed = { entries: skimmed.entries + passed.entries, sought: skimmed.sought || passed.sought };
    }
    if (entries.length + skimmed.entries > maxReferrers) throw tooMany(target, digest);
    url = nextPage(response, asked, target);
  }
  return { entries, skimmed };
};

const isList = ({ headers, body }: HttpResponse): boolean =>
  mediaTypeOf(headers['content-type']) === ociIndex || Array.isArray(parseJsonObject(body)?.['manifests']);

/** Statuses by which registries say that they do not know the API. */
const isAbsent = (status: number): boolean => [400, 404, 405, 406, 501].includes(status);

/** A link that is not understood is an error: the end of the list, taken for granted, would hide signatures. */
const nextPage = ({ headers, url: answered }: HttpResponse, page: URL, target: Target): URL | undefined => {
  const url = findLink(headers.link ?? '', 'next', new URL(answered));
  if (url === null) throw malformed(target, 'the link to the next page of referrers cannot be understood');
  if (url !== undefined && url.origin !== page.origin) {
    throw unusable(
      target,
      'EGRESS_DENIED',
      `the next page of referrers is said to be at another host (${url.host}); not asked`,
    );
  }
  return url;
};

/** `failed_precondition`, reason `TOO_MANY_REFERRERS`. */
export const tooMany = (target: Target, digest: Digest): Error =>
  unusable(
    target,
    'TOO_MANY_REFERRERS',
    `more than ${maxReferrers} manifests or ${maxPages} pages refer to ${digest}; remove some with an OCI client`,
  );
