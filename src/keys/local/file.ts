import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readPem } from '../../codec/pem.ts';
import { CountersignError } from '../../model/error.ts';
import { cosignLabels, openCosignKey } from './cosign-key.ts';
import { readSecretFile, readTextFile } from '../read-file.ts';

const labels = [...cosignLabels, 'PRIVATE KEY', 'ENCRYPTED PRIVATE KEY', 'EC PRIVATE KEY', 'RSA PRIVATE KEY'];

/** `openssl ecparam -genkey` writes the curve's name as a block of its own before the key, which repeats it. */
const ecParameters = /^\s*-----BEGIN EC PARAMETERS-----[A-Za-z0-9+/=\s]{1,64}-----END EC PARAMETERS-----/;

export type KeyFile = {
  readonly file: string;
  readonly password: string | undefined;
  readonly passwordFile: string | undefined;
};

const refuse = (reason: string, message: string, cause?: unknown): CountersignError =>
  new CountersignError('failed_precondition', reason, message, { cause });

const invalid = (file: string, why: string): CountersignError =>
  refuse(
    'KEY_FILE_INVALID',
    `The key file ${file} ${why}. Use a private key as cosign generate-key-pair writes it, PKCS#8, SEC1 or PKCS#1, in PEM.`,
  );

const passwordOf = async ({ file, password, passwordFile }: KeyFile): Promise<string> => {
  if (password !== undefined) return password;
  if (passwordFile !== undefined) return readSecretFile(passwordFile, 'the password file');
  throw refuse(
    'KEY_PASSWORD_MISSING',
    `The key file ${file} is encrypted: set passwordFile (or password, from the environment; empty when it has none).`,
  );
};

const wrongPassword = (file: string): CountersignError =>
  refuse('KEY_PASSWORD_WRONG', `The password does not open the key file ${file}: check password or passwordFile.`);

const parse = (file: string, key: Buffer, type: 'pkcs8' | 'sec1' | 'pkcs1', passphrase?: string): KeyObject => {
  try {
    return createPrivateKey({ key, format: 'der', type, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    // OpenSSL reports a wrong password and a broken file alike. Its error is dropped: it may quote the input.
    throw passphrase === undefined ? invalid(file, 'holds no readable private key') : wrongPassword(file);
  }
};

/**
 * Reads and, where needed, decrypts a private key file: cosign's, PKCS#8, encrypted PKCS#8, SEC1 or PKCS#1, PEM, at most
 * 64 KiB. Throws `failed_precondition` with the file and the fix: `KEY_FILE_UNREADABLE`, `KEY_FILE_INVALID`,
 * `KEY_PASSWORD_MISSING`, `KEY_PASSWORD_WRONG`.
 */
export const readKeyFile = async (source: KeyFile): Promise<KeyObject> => {
  const { file } = source;
  const text = await readTextFile(file, 'the key file', 64 * 1024);
  if (/-----BEGIN (?:RSA )?PUBLIC KEY-----/.test(text)) throw invalid(file, 'holds a public key, not a private one');
  const block = readPem(text.replace(ecParameters, ''), labels);
  if ('problem' in block) throw invalid(file, block.problem);
  switch (block.label) {
    case 'PRIVATE KEY':
      return parse(file, block.bytes, 'pkcs8');
    case 'EC PRIVATE KEY':
      return parse(file, block.bytes, 'sec1');
    case 'RSA PRIVATE KEY':
      return parse(file, block.bytes, 'pkcs1');
    case 'ENCRYPTED PRIVATE KEY':
      return parse(file, block.bytes, 'pkcs8', await passwordOf(source));
    default: {
      const opened = await openCosignKey(block.bytes, await passwordOf(source));
      if (opened === 'malformed') throw invalid(file, 'is not an encrypted key as cosign writes it');
      if (opened === 'wrong-password') throw wrongPassword(file);
      const key = parse(file, opened, 'pkcs8');
      opened.fill(0);
      return key;
    }
  }
};
