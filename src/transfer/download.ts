import { visibleJson } from '../codec/visible-json.ts';
import type { Context } from '../model/context.ts';
import { type Digest, isDigest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { maxBlobBytes } from '../registry/blobs.ts';
import { parseJsonObject } from '../registry/manifest.ts';
import { nodeOf } from './copy.ts';
import type { Graph } from './gather.ts';
import type { Format, Kind } from './kinds.ts';

export type Downloaded = {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly format: Format;
  /** The exact bytes. */
  readonly content: Uint8Array;
  /** The layer's, where cosign keeps a bare signature. */
  readonly annotations: Readonly<Record<string, string>>;
  /** Of attestations: what the statement itself says. */
  readonly predicateType: string | undefined;
};

const maxTogether = 256 * 1024 * 1024;

/**
 * The contents attached to the image, of one kind; with `predicateType` only attestations whose statement has it. Bounded: 16 MiB each, 256 MiB
 * together (`failed_precondition`, reason `BLOB_TOO_LARGE`).
 */
export const download = async (
  graph: Graph,
  kind: Exclude<Kind, 'other'>,
  predicateType: string | undefined,
  context: Context,
): Promise<readonly Downloaded[]> => {
  const found = new Map<string, Downloaded>();
  let together = 0;
  for (const attachment of graph.attachments) {
    if (attachment.subject !== graph.root || attachment.kind !== kind) continue;
    for (const layer of nodeOf(graph, attachment.digest).layers) {
      const { digest, mediaType, size, annotations } = layer;
      if (!isDigest(digest)) continue;
      together += size;
      if (size > maxBlobBytes || together > maxTogether) throw tooLarge(digest);
      const pieces: Uint8Array[] = [];
      for await (const piece of attachment.from.blob({ digest, mediaType, size }, context)) pieces.push(piece);
      const content = Buffer.concat(pieces);
      const { format } = attachment;
      const stated = format === 'bundle' || format === 'dsse' ? predicateTypeIn(content) : undefined;
      if (predicateType !== undefined && stated !== predicateType) continue;
      const one = { digest, mediaType, format, content, annotations: annotations ?? {}, predicateType: stated };
      found.set(`${digest} ${annotations?.[signatureAnnotation] ?? ''}`, one);
    }
  }
  return [...found.values()];
};

const signatureAnnotation = 'dev.cosignproject.cosign/signature';

/** Of a DSSE envelope, bare or in a bundle, or of a statement without one. */
const predicateTypeIn = (content: Uint8Array): string | undefined => {
  const outer = parseJsonObject(content);
  const envelope = (outer?.['dsseEnvelope'] ?? outer) as Readonly<Record<string, unknown>> | undefined;
  const payload = envelope?.['payload'];
  const statement = typeof payload === 'string' ? parseJsonObject(Buffer.from(payload, 'base64')) : outer;
  const type = statement?.['predicateType'];
  return typeof type === 'string' ? type : undefined;
};

/** The base64 signature of a bare one. */
export const signatureOf = ({ annotations }: Downloaded): string => annotations[signatureAnnotation] ?? '';

/**
 * The line that `cosign download` prints for it: a bundle or envelope as it is, but on one line and without control characters; a bare
 * signature with its payload. Undefined for an envelope that is no JSON.
 */
export const lineOf = (one: Downloaded): string | undefined => {
  const { content, annotations } = one;
  if (one.format !== 'simple-signing') {
    // Outside of strings line ends are white space, and inside they cannot be; numbers stay as they are written.
    const text = Buffer.from(content)
      .toString('utf8')
      .replace(/^\uFEFF/, '')
      .replace(/[\t\r\n][\t\r\n ]*/g, ' ')
      .trim();
    return parseJsonObject(content) === undefined ? undefined : visibleJson(text);
  }
  const parsed = (name: string): unknown => {
    const text = annotations[name];
    return text === undefined ? null : (parseJsonObject(Buffer.from(text)) ?? null);
  };
  const certificates = pemBlocks(annotations['dev.sigstore.cosign/certificate']);
  const chain = pemBlocks(annotations['dev.sigstore.cosign/chain']);
  const line = {
    Base64Signature: signatureOf(one),
    Payload: Buffer.from(content).toString('base64'),
    Cert: certificates[0] ?? null,
    Chain: chain.length === 0 ? null : chain,
    Bundle: parsed('dev.sigstore.cosign/bundle'),
    RFC3161Timestamp: parsed('dev.sigstore.cosign/rfc3161timestamp'),
  };
  return visibleJson(JSON.stringify(line));
};

/** An SBOM as text; undefined when it is none (UTF-8). */
export const textOf = ({ content }: Downloaded): string | undefined => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    return undefined;
  }
};

/** cosign prints every field of Go's certificate; `Raw`, the DER, is the one that all others follow from. */
const pemBlocks = (pem: string | undefined): readonly { readonly Raw: string }[] =>
  [...(pem ?? '').matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g)].map(
    ([, der]) => ({
      Raw: (der ?? '').replace(/\s/g, ''),
    }),
  );

const tooLarge = (digest: Digest): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'BLOB_TOO_LARGE',
    `${digest}: at most ${maxBlobBytes} bytes are downloaded of each, and ${maxTogether} of all together.`,
  );
