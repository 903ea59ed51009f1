import { paePrefix } from '../codec/pae.ts';
import { CountersignError } from '../model/error.ts';

/**
 * A blob is signed as it is, so a signature over a blob that *is* the signed form of something else would be a signature
 * over that: whoever may sign blobs could attest, or sign images. Such a blob is refused.
 *
 * @throws invalid_argument `CONFUSABLE_CONTENT` for a DSSE pre-authentication encoding or a cosign image payload.
 */
export const assertNotConfusable = (content: Uint8Array): void => {
  const what = isPae(content) ? 'an attestation' : isImagePayload(content) ? 'an image signature' : undefined;
  if (what === undefined) return;
  throw new CountersignError(
    'invalid_argument',
    'CONFUSABLE_CONTENT',
    `This blob is the signed form of ${what}, so its signature would count as one; ask for ${what} instead.`,
  );
};

const isPae = (content: Uint8Array): boolean =>
  Buffer.from(content.subarray(0, paePrefix.length)).toString('latin1') === paePrefix;

/** Wider than our own reader: Go's takes names in any case, and of two equal names the last. */
const isImagePayload = (content: Uint8Array): boolean => mayHave(content, (names) => names.has('critical'));

/**
 * An attestation speaks of a digest, and the digest of a manifest is that of the image: whoever may attest blobs could attest
 * images. Such a blob is refused.
 *
 * @throws invalid_argument `CONFUSABLE_CONTENT` for the manifest or index of an image.
 */
export const assertNotManifest = (content: Uint8Array): void => {
  const isManifest = (names: ReadonlySet<string>): boolean =>
    names.has('schemaversion') || names.has('manifests') || (names.has('config') && names.has('layers'));
  if (!mayHave(content, isManifest)) return;
  throw new CountersignError(
    'invalid_argument',
    'CONFUSABLE_CONTENT',
    'This blob is the manifest of an image, so an attestation of it would be one of the image; name the image instead.',
  );
};

/** Is it a JSON object whose names, in lower case, are such? Also true when nobody can tell. */
const mayHave = (content: Uint8Array, such: (names: ReadonlySet<string>) => boolean): boolean => {
  const start = content.findIndex((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d);
  if (content[start] !== 0x7b) return false;
  try {
    const value: unknown = JSON.parse(Buffer.from(content).toString('utf8'));
    return (
      typeof value === 'object' && value !== null && such(new Set(Object.keys(value).map((name) => name.toLowerCase())))
    );
  } catch (caught) {
    // What JSON.parse merely could not manage, another parser might.
    return !(caught instanceof SyntaxError);
  }
};
