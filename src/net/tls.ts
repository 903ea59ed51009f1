import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { CountersignError } from '../model/error.ts';

/** A certificate with its key, PEM text: of a listener (`ca` is set when it asks for client certificates) or of a client. */
export type TlsMaterial = { readonly cert: string; readonly key: string; readonly ca?: string };

export type TlsFiles = { readonly certFile: string; readonly keyFile: string; readonly clientCaFile?: string };

const maxFileBytes = 1024 * 1024;

/**
 * Reads and checks the files of a TLS listener or client. Throws `failed_precondition`, reason `TLS_FILE_INVALID`, with the file
 * named: not readable, above 1 MiB, no certificate or key in it, or a key that is not that of the certificate.
 */
export const readTlsFiles = async (files: TlsFiles): Promise<TlsMaterial> => {
  const [cert, key, ca] = await Promise.all([
    read(files.certFile),
    read(files.keyFile),
    files.clientCaFile === undefined ? undefined : read(files.clientCaFile),
  ]);
  const certificate = parseCertificate(cert, files.certFile);
  const privateKey = parseKey(key, files.keyFile);
  if (!certificate.checkPrivateKey(privateKey)) {
    throw invalid(files.keyFile, `is not the key of the certificate in ${files.certFile}`);
  }
  if (ca === undefined) return { cert, key };
  if (files.clientCaFile !== undefined) parseCertificate(ca, files.clientCaFile);
  return { cert, key, ca };
};

/** The system's roots of Node plus some PEM certificates: what an outbound client trusts. */
export const withSystemRoots = (ca: readonly string[]): string[] => [...rootCertificates, ...ca];

const read = async (file: string): Promise<string> => {
  try {
    const bytes = await readFile(file);
    if (bytes.byteLength > maxFileBytes) throw invalid(file, `is larger than ${maxFileBytes} bytes`);
    return bytes.toString('utf8');
  } catch (error) {
    if (error instanceof CountersignError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw invalid(file, `cannot be read (${code})`, error);
  }
};

const parseCertificate = (pem: string, file: string): X509Certificate => {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw invalid(file, 'holds no PEM certificate', error);
  }
};

// The cause is left out: an error about a private key may quote it.
const parseKey = (pem: string, file: string): ReturnType<typeof createPrivateKey> => {
  try {
    return createPrivateKey(pem);
  } catch {
    throw invalid(file, 'holds no unencrypted PEM private key');
  }
};

const invalid = (file: string, what: string, cause?: unknown): CountersignError =>
  new CountersignError('failed_precondition', 'TLS_FILE_INVALID', `TLS file ${file} ${what}.`, {
    metadata: { file },
    ...(cause === undefined ? {} : { cause }),
  });
