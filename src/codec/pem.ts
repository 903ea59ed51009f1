import { decodeBase64 } from './base64.ts';

/** One PEM block: its label (`PUBLIC KEY`) and the bytes inside. */
export type PemBlock = { readonly label: string; readonly bytes: Buffer };

const begin = /-----BEGIN ([A-Z0-9 ]{1,64})-----/g;
const block = /^\s*-----BEGIN ([A-Z0-9 ]{1,64})-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*)-----END ([A-Z0-9 ]{1,64})-----\s*$/;

/**
 * Reads a text that holds exactly one PEM block and nothing else but white space (RFC 7468 section 3, lax line
 * lengths). `labels` are the accepted ones; `maxChars` bounds the text before it is looked at. Answers with the
 * block, or with what is wrong in words that fit after "it".
 */
export const readPem = (
  text: string,
  labels: readonly string[],
  maxChars = 64 * 1024,
): PemBlock | { readonly problem: string } => {
  if (text.length > maxChars) return { problem: `is longer than ${maxChars} characters` };
  const found = [...text.matchAll(begin)].map((match) => match[1] ?? '');
  if (found.length === 0) return { problem: 'holds no PEM block (-----BEGIN ...-----)' };
  if (found.length > 1)
    return { problem: `holds ${found.length} PEM blocks (${found.slice(0, 4).join(', ')}), not one` };
  const label = found[0] ?? '';
  if (!labels.includes(label)) return { problem: `holds a PEM block "${label}", not ${labels.join(' or ')}` };
  if (/^(Proc-Type|DEK-Info):/m.test(text)) {
    return { problem: 'uses the old OpenSSL encryption (Proc-Type header), which is not supported' };
  }
  const match = block.exec(text);
  if (match === null || match[3] !== label) return { problem: 'holds a broken PEM block, or text around it' };
  const bytes = decodeBase64((match[2] ?? '').replace(/\s+/g, ''));
  if (bytes === undefined || bytes.length === 0) return { problem: 'holds a PEM block that is not canonical base64' };
  return { label, bytes };
};

/** Writes one PEM block with lines of 64 characters and a final newline. */
export const writePem = (label: string, bytes: Uint8Array): string => {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
};
