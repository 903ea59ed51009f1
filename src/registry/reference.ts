import { isDigest } from '../model/digest.ts';
import { invalidArgument } from '../model/error.ts';
import { canonicalRegistryHost } from '../model/registry-host.ts';
import type { ImageReference } from '../model/subject.ts';
import { repositoryName } from '../model/subject.ts';

/** Docker Hub, as go-containerregistry and so cosign name it. */
const dockerHub = 'index.docker.io';
const dockerHubAliases = new Set(['docker.io', 'registry-1.docker.io']);

// distribution/reference, regexp.go: the grammar of references, taken apart.
const domainPattern =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::\d{1,5})?$/;
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const maxReferenceLength = 1024;
const maxRepositoryLength = 255;

/** `canonicalRegistryHost`, with one name for Docker Hub, `index.docker.io`; undefined for what no request can be sent to. */
export const canonicalRegistry = (host: string): string | undefined => {
  const canonical = canonicalRegistryHost(host);
  return canonical !== undefined && dockerHubAliases.has(canonical) ? dockerHub : canonical;
};

/**
 * Parses `[host[:port]/]path[:tag][@sha256:hex]` (distribution/reference grammar) into the canonical long form: docker.io
 * shortcuts are expanded as go-containerregistry does (`nginx` is `index.docker.io/library/nginx`), hosts are spelled as
 * `canonicalRegistryHost` does. A missing tag stays undefined. Throws `invalid_argument` with one violation of `field` that says what to mend.
 */
export const parseReference = (text: string, field = 'image'): ImageReference => {
  const refuse = (description: string): never => {
    throw invalidArgument([{ field, description }]);
  };
  const { name, tag, digest } = splitReference(text, refuse);
  return { ...parseName(name, refuse), tag, digest };
};

/** Parses `host/path` (no tag, no digest) as `parseReference` does. */
export const parseRepository = (
  text: string,
  field = 'repository',
): Pick<ImageReference, 'registry' | 'repository'> => {
  const reference = parseReference(text, field);
  if (reference.tag !== undefined || reference.digest !== undefined) {
    throw invalidArgument([{ field, description: 'must be a repository without a tag or digest: host/path' }]);
  }
  return { registry: reference.registry, repository: reference.repository };
};

/** `host/path[:tag][@digest]`: parses back to the same reference. */
export const formatReference = (reference: ImageReference): string =>
  repositoryName(reference) +
  (reference.tag === undefined ? '' : `:${reference.tag}`) +
  (reference.digest === undefined ? '' : `@${reference.digest}`);

type Refuse = (description: string) => never;

const splitReference = (text: string, refuse: Refuse) => {
  if (text === '') refuse('is empty; write host/path:tag or host/path@sha256:...');
  if (text.length > maxReferenceLength) refuse(`is longer than ${maxReferenceLength} characters`);
  if (/\s/.test(text)) refuse('contains white space');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f-\uffff]/.test(text)) refuse('contains a character that is not printable ASCII');
  if (text.includes('://')) refuse('must not carry a scheme; leave out everything up to ://');

  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) {
    if (digest.includes('/')) refuse('must not carry a user name or password');
    refuse('has a digest that is not sha256: and 64 lower-case hexadecimal digits');
  }
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(':');
  const hasTag = colon > named.lastIndexOf('/');
  const tag = hasTag ? named.slice(colon + 1) : undefined;
  const name = hasTag ? named.slice(0, colon) : named;
  if (tag !== undefined && !tagPattern.test(tag)) {
    refuse('has a bad tag: up to 128 letters, digits, ".", "_" and "-", not starting with "." or "-"');
  }
  if (name === '') refuse('has no repository');
  return { name, tag, digest: digest !== undefined && isDigest(digest) ? digest : undefined };
};

const parseName = (name: string, refuse: Refuse): Pick<ImageReference, 'registry' | 'repository'> => {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isHost = first === 'localhost' || /[.:[\]]/.test(first) || first !== first.toLowerCase();
  const domain = isHost ? first : dockerHub;
  const path = isHost ? name.slice(slash + 1) : name;

  if (!domainPattern.test(domain)) refuse(`has a bad registry host ${JSON.stringify(domain)}; write host or host:port`);
  if (path.length > maxRepositoryLength) refuse(`has a repository longer than ${maxRepositoryLength} characters`);
  if (/[A-Z]/.test(path)) refuse('has upper-case letters in the repository; repositories are lower case');
  if (!path.split('/').every((component) => componentPattern.test(component))) {
    refuse('has a bad repository: lower-case letters and digits, parted by ".", "_", "__" or "-", components by "/"');
  }
  // As distribution/reference: 64 hex digits alone are taken for an image id.
  if (!isHost && /^[a-f0-9]{64}$/.test(path)) refuse('looks like an image id; write host/path@sha256:... instead');

  const registry =
    canonicalRegistry(domain) ?? refuse(`names a registry that cannot be asked: ${JSON.stringify(domain)}`);
  return { registry, repository: registry === dockerHub && !path.includes('/') ? `library/${path}` : path };
};
