import type { Digest } from '../model/digest.ts';
import type { FormatName, KeyVersion, Sealed, Signable, ToSign } from '../model/signature.ts';

/** A signature taken apart: what was signed, by which signature, and what the signed content claims. Nothing verified. */
export type Opened = {
  readonly format: FormatName;
  readonly signature: Uint8Array;
  /** The exact bytes that the signature covers (payload, PAE); undefined for a bundle over a blob: then the blob itself. */
  readonly message: Uint8Array | undefined;
  /** For a bundle over a blob: the digest that it says it covers; 32, 48 or 64 bytes for SHA-256, 384 or 512. */
  readonly messageDigest: Uint8Array | undefined;
  /** `publicKey.hint` of a bundle, `keyid` of an envelope; unsigned, so only a hint. */
  readonly keyHint: string | undefined;
  /** What it says it can be verified with: a bundle says one or the other, a certificate beside a legacy signature forbids no key. */
  readonly material: 'key' | 'certificate' | 'key-or-certificate';
  /** What kind of thing was signed. */
  readonly content:
    | { readonly kind: 'image'; readonly digest: Digest; readonly annotations: Readonly<Record<string, string>> }
    | { readonly kind: 'blob' }
    | {
        readonly kind: 'statement';
        /** The exact bytes inside the envelope. */
        readonly statement: Uint8Array;
        readonly predicateType: string;
        /** The SHA-256 digests of its subjects, with the annotations of each. */
        readonly subjects: readonly {
          readonly digest: Digest;
          readonly annotations: Readonly<Record<string, string>>;
        }[];
      };
};

/**
 * One signature format. Pure: bytes in, bytes out, no I/O, no clock of its own.
 *
 * `message`: the thing -> what the key signs. `invalid_argument` when this format cannot carry this kind of thing.
 * `seal`: thing + signature -> the exact bytes to store. Must be called with what `message` answered.
 * `open`: stored bytes -> Opened; throws `invalid_argument` with a reason (`MALFORMED_BUNDLE`, ...) for anything that is
 * not well-formed, never guesses. Sizes and counts are bounded before parsing (security.md section 7).
 */
export interface SignatureFormat {
  readonly name: FormatName;
  message(signable: Signable, now: Date): ToSign;
  seal(signable: Signable, toSign: ToSign, signature: Uint8Array, key: KeyVersion, now: Date): Sealed;
  /** Does this format recognise the media type of a stored layer? */
  reads(mediaType: string): boolean;
  open(content: Uint8Array, annotations: Readonly<Record<string, string>>): Opened;
}
