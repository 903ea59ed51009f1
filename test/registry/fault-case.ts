import type { IncomingMessage } from 'node:http';
import type { DevRegistryOptions } from '../../src/dev/registry.ts';
import type { SignCommand } from '../../src/model/command.ts';
import type { ErrorCode } from '../../src/model/error.ts';
import type { FormatName } from '../../src/model/signature.ts';
import type { Fault, Rule } from './fault-registry.ts';
import type { FaultWorld, Outcome } from './fault-world.ts';

/** `retryMs`: what the error tells to wait, from and to; undefined: nothing. */
export type Refusal = {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly retryMs?: readonly [min: number, max: number] | undefined;
};

/** One way in which a registry fails, and what must become of a Sign in both formats. */
export type FaultCase = {
  readonly name: string;
  readonly registry?: DevRegistryOptions;
  readonly tls?: boolean;
  /** Sign the same once before the faults begin, and then as a replica that has just started. */
  readonly signedBefore?: boolean;
  /** What the request says besides. */
  readonly command?: (world: FaultWorld) => Partial<SignCommand>;
  /** Is for cases that end by their deadline; the others have more time than they need. */
  readonly deadlineMs?: number;
  readonly rules: (world: FaultWorld) => readonly Rule[];
  readonly expected: 'signed' | 'existing' | Refusal;
  /** How often the key signs. Default: twice when `signed`, else never. */
  readonly keyUses?: number;
  /** Signatures that the error tells of. Default: none. */
  readonly named?: number;
  readonly check?: (world: FaultWorld, outcome: Outcome) => void;
  /**
   * Which of two signatures by tag the registry denies in so many words, or by naming another image: no reader can tell that from
   * there being none.
   */
  readonly hides?: readonly FormatName[];
};

export const answer = (
  status: number,
  headers: Readonly<Record<string, string | string[]>> = {},
  body?: string,
): Fault => ({
  kind: 'answer',
  status,
  headers,
  ...(body === undefined ? {} : { body }),
});

export const refused = (code: ErrorCode, reason: string, min?: number, max = min): Refusal => ({
  code,
  reason,
  ...(min === undefined || max === undefined ? {} : { retryMs: [min, max] as const }),
});

export const denied = refused('failed_precondition', 'REGISTRY_ACCESS_DENIED');
export const egress = refused('failed_precondition', 'EGRESS_DENIED');
export const mismatch = refused('data_loss', 'DIGEST_MISMATCH');
export const nonsense = refused('unavailable', 'REGISTRY_RESPONSE_INVALID');
export const tooLarge = refused('unavailable', 'RESPONSE_TOO_LARGE');
export const down = refused('unavailable', 'REGISTRY_UNAVAILABLE', 1, 1_000);
export const late = refused('deadline_exceeded', 'DEADLINE_EXCEEDED');

export const ociIndex = 'application/vnd.oci.image.index.v1+json';
export const ociManifest = 'application/vnd.oci.image.manifest.v1+json';
export const otherDigest = `sha256:${'ab'.repeat(32)}`;

/** The requests of one Sign. */
export const paths = {
  image: { method: 'HEAD', path: /\/manifests\/v1$/ },
  anything: { path: /^\/v2\// },
  referrers: { method: 'GET', path: /\/referrers\// },
  signatureTag: { method: 'GET', path: /\/manifests\/sha256-[0-9a-f]{64}[.]sig$/ },
  putSignatureTag: { method: 'PUT', path: /\/manifests\/sha256-[0-9a-f]{64}[.]sig$/ },
  putBundle: { method: 'PUT', path: /\/manifests\/sha256:/ },
  putFallbackTag: { method: 'PUT', path: /\/manifests\/sha256-[0-9a-f]{64}$/ },
  startUpload: { method: 'POST', path: /\/blobs\/uploads\// },
  finishUpload: { method: 'PUT', path: /\/blobs\/uploads\// },
  blob: { method: 'GET', path: /\/blobs\/sha256:/ },
  token: { path: /^\/token/ },
} as const;

/** Without credentials. */
export const anonymous = (request: IncomingMessage): boolean => request.headers.authorization === undefined;
/** With anything but the token that `tokenService` gives. */
export const withoutToken = (request: IncomingMessage): boolean =>
  request.headers.authorization !== 'Bearer token-of-the-fault-table';
export const tokenAnswer = '{"token":"token-of-the-fault-table","expires_in":300}';

/** `challenge`: `{origin}` is the registry's own. */
export const challenged = (world: FaultWorld, challenge: string, when = withoutToken): Rule => {
  const origin = `${world.host === world.registry.host ? 'http' : 'https'}://${world.host}`;
  const text = challenge.replaceAll('{origin}', origin);
  return { ...paths.anything, when, fault: answer(401, { 'www-authenticate': text }) };
};
export const bearer = 'Bearer realm="{origin}/token",service="registry"';
export const tokenService: Rule = { ...paths.token, fault: answer(200, {}, tokenAnswer) };

export const countOf = (world: FaultWorld, method: string, path: RegExp): number =>
  world.registry.seen.filter((request) => request.method === method && path.test(request.url)).length;

/** Every request wants the password, so that there is one that could leak. */
export const locked = (world: FaultWorld): Rule => challenged(world, 'Basic realm="r"', anonymous);
export const redirect = (location: string, status = 307): Fault => answer(status, { location });
