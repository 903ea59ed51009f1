import { createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { sha256 } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { KeyVersion } from '../model/signature.ts';
import { algorithms, type RsaScheme, rsaSchemeOf } from './algorithms.ts';
import { readKeyFile } from './local/file.ts';
import type { LocalSettings } from './local/settings.ts';
import { signLocally } from './local/sign.ts';
import type { Key } from './port.ts';
import { type PublicKey, publicKeyOf } from './public-key.ts';

const generate = promisify(generateKeyPair);

const generated = async (settings: LocalSettings): Promise<{ key: KeyObject; rsa: RsaScheme }> => {
  const algorithm = algorithms[settings.generate ?? 'ecdsa-p256-sha256'];
  switch (algorithm.type) {
    case 'ec':
      return {
        key: (await generate('ec', { namedCurve: algorithm.namedCurve })).privateKey,
        rsa: {},
      };
    case 'rsa':
      return {
        key: (await generate('rsa', { modulusLength: algorithm.modulusBits })).privateKey,
        rsa: { padding: algorithm.padding, hash: algorithm.hash },
      };
    case 'ed25519':
      return { key: (await generate('ed25519')).privateKey, rsa: {} };
  }
};

const load = async (settings: LocalSettings): Promise<{ key: KeyObject; rsa: RsaScheme }> => {
  if (settings.file === undefined) return generated(settings);
  const { file, password, passwordFile } = settings;
  return { key: await readKeyFile({ file, password, passwordFile }), rsa: rsaSchemeOf(settings) };
};

const describePublic = (settings: LocalSettings, key: KeyObject, rsa: RsaScheme): PublicKey => {
  try {
    return publicKeyOf(createPublicKey(key), rsa);
  } catch (caught) {
    if (!(caught instanceof CountersignError)) throw caught;
    throw new CountersignError(
      caught.code,
      caught.reason,
      `The key file ${settings.file} cannot be used. ${caught.message}`,
    );
  }
};

/**
 * Opens a key that this process holds: from a file, or generated. Only the KeyObject is kept, the file's text is dropped.
 * Its one version is named by the SHA-256 of its public key; its protection level is `software`. Throws
 * `failed_precondition` that names the file and the fix (`readKeyFile`, `KEY_UNSUPPORTED`).
 */
export const openLocalKey = async (settings: LocalSettings): Promise<Key> => {
  const { key, rsa } = await load(settings);
  const publicKey = describePublic(settings, key, rsa);
  const signing: KeyVersion = { key: settings.name, version: sha256(publicKey.spki), ...publicKey };
  const algorithm = algorithms[signing.algorithm];
  return {
    description: {
      name: settings.name,
      backend: 'local',
      protectionLevel: 'software',
      evidence: { held: settings.file === undefined ? 'memory of this process' : 'file' },
      origin: settings.file === undefined ? 'generated' : 'imported',
      checkedAt: new Date().toISOString(),
      signing,
      versions: [{ ...signing, state: 'enabled', createdAt: undefined }],
      opaque: [],
    },
    sign: (toSign) => signLocally(algorithm, key, toSign),
    close: async () => {},
  };
};
