import { parseStrictJson } from '../codec/strict-json.ts';
import { CountersignError, invalidArgument } from '../model/error.ts';
import { custom, unknownType } from './custom.ts';
import { cyclonedx } from './cyclonedx.ts';
import { link } from './link.ts';
import { openvex } from './openvex.ts';
import type { PredicateType } from './port.ts';
import { slsaProvenance02, slsaProvenance1 } from './slsa-provenance.ts';
import { spdx } from './spdx.ts';
import { uri } from './structure.ts';
import { vuln } from './vuln.ts';

/** Every predicate type that we know more of than its URI. */
export const predicateTypes: readonly PredicateType[] = [
  slsaProvenance1,
  slsaProvenance02,
  spdx,
  cyclonedx,
  vuln,
  openvex,
  link,
  custom,
];

/** What a verifier takes for a signature of an image must never come out of Attest. */
const reserved = 'https://sigstore.dev/cosign/sign/';

const maxUriLength = 255;

/** The most bytes and nesting of a predicate (security.md section 7). */
const maxPredicateBytes = 4 * 1024 * 1024;
const maxPredicateDepth = 64;

/**
 * The predicate type of a short name that cosign knows (`slsaprovenance1`, `spdxjson`, ...) or of an absolute URI.
 *
 * @throws invalid_argument for anything else, and for the type by which cosign marks image signatures.
 */
export const predicateType = (nameOrUri: string): PredicateType => {
  const known = predicateTypes.find((type) => type.uri === nameOrUri || type.aliases.includes(nameOrUri));
  if (known !== undefined) return known;
  if (nameOrUri.length > maxUriLength || !uri.safeParse(nameOrUri).success) {
    const names = predicateTypes.flatMap((type) => type.aliases).join(', ');
    throw invalidArgument([
      {
        field: 'predicate_type',
        description: `must be an absolute URI of at most ${maxUriLength} characters, or one of ${names}`,
      },
    ]);
  }
  if (nameOrUri.startsWith(reserved)) {
    throw invalidArgument([
      { field: 'predicate_type', description: 'is reserved for image signatures; call Sign, or verify a signature' },
    ]);
  }
  return unknownType(nameOrUri);
};

/**
 * A caller's predicate, checked: its type's URI and the JSON value for the statement.
 *
 * @param bytes JSON, UTF-8, at most 4 MiB, nested at most 64 deep, without duplicate names.
 * @throws invalid_argument with every problem and its path below `predicate`.
 */
export const checkPredicate = (
  nameOrUri: string,
  bytes: Uint8Array,
  now: Date,
): { readonly uri: string; readonly predicate: unknown } => {
  const type = predicateType(nameOrUri);
  return { uri: type.uri, predicate: type.check(parsePredicate(bytes), now) };
};

const parsePredicate = (bytes: Uint8Array): unknown => {
  try {
    return parseStrictJson(bytes, {
      maxBytes: maxPredicateBytes,
      maxDepth: maxPredicateDepth,
      rejectUnsafeIntegers: true,
    });
  } catch (caught) {
    if (!(caught instanceof CountersignError)) throw caught;
    throw invalidArgument([{ field: 'predicate', description: caught.message }]);
  }
};
