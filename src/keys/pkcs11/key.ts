import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import { readDer, writeDer, writeUnsigned } from '../../codec/der.ts';
import { ecdsaRawToDer } from '../../codec/ecdsa.ts';
import { ed25519Spki, readSpki } from '../../codec/spki.ts';
import { CountersignError } from '../../model/error.ts';
import type { KeyVersion, ToSign } from '../../model/signature.ts';
import { algorithms, assertSignable, type RsaScheme } from '../algorithms.ts';
import { ckf, ckk } from './constants.ts';
import { pkcs11Garbage } from './errors.ts';
import type { Attributes, FoundKey, MechanismName, TokenFacts } from './protocol.ts';
import { maxMessageBytes } from './wire.ts';
import type { KeyOrigin, ListedVersion, ProtectionLevel } from '../port.ts';
import { publicKeyOf } from '../public-key.ts';
import { digestInfo } from '../rsa-encoding.ts';

const unsupported = (message: string): CountersignError =>
  new CountersignError('failed_precondition', 'KEY_UNSUPPORTED', message);

const bytes = (hex: string | undefined): Buffer => Buffer.from(hex ?? '', 'hex');

/** Object identifiers of the curves as DER, hex: CKA_EC_PARAMS of keys that are supported. */
const curvePoints: Readonly<Record<string, number>> = {
  '06082a8648ce3d030107': 32,
  '06052b81040022': 48,
  '06052b81040023': 66,
};
const oidEcPublicKey = Buffer.from('06072a8648ce3d0201', 'hex');
const oidRsa = Buffer.from('300d06092a864886f70d0101010500', 'hex');
const tagSequence = 0x30;
const tagBitString = 0x03;
const tagOctetString = 0x04;

const spkiOf = (algorithm: Uint8Array, key: Uint8Array): Buffer =>
  writeDer(tagSequence, algorithm, writeDer(tagBitString, Uint8Array.of(0), key));

/** CKA_EC_POINT is an OCTET STRING around the point; some tokens give a BIT STRING, or the point alone. */
const pointOf = (attribute: Buffer, length: number): Buffer | undefined => {
  if (attribute.length === length) return attribute;
  const element = readDer(attribute, { maxBytes: 256, maxDepth: 1, maxElements: 1 });
  if (element?.tag === tagOctetString && element.content.length === length) return Buffer.from(element.content);
  const [unused, ...rest] = element?.tag === tagBitString ? element.content : [];
  return unused === 0 && rest.length === length ? Buffer.from(rest) : undefined;
};

const ecKey = ({ ecParams = '', ecPoint }: Attributes, at: string): Buffer | undefined => {
  if (ecPoint === undefined) return undefined;
  const width = Object.hasOwn(curvePoints, ecParams) ? curvePoints[ecParams] : undefined;
  if (width === undefined) {
    throw unsupported(
      `The key in ${at} is on a curve (CKA_EC_PARAMS ${ecParams}) that cosign and Sigstore refuse: use P-256, P-384 or P-521.`,
    );
  }
  const point = pointOf(bytes(ecPoint), 1 + 2 * width);
  if (point?.[0] === 0x04) return spkiOf(writeDer(tagSequence, oidEcPublicKey, bytes(ecParams)), point);
  if (pointOf(bytes(ecPoint), 1 + width) !== undefined) {
    throw unsupported(
      `The public key in ${at} is a compressed point, which cosign cannot read: store it uncompressed.`,
    );
  }
  throw pkcs11Garbage(at, 'CKA_EC_POINT is no point of the curve');
};

const edwardsKey = ({ ecPoint }: Attributes, at: string): Buffer | undefined => {
  if (ecPoint === undefined) return undefined;
  const raw = pointOf(bytes(ecPoint), 32);
  if (raw === undefined) throw unsupported(`The key in ${at} is an Edwards key, but not Ed25519.`);
  return ed25519Spki(raw);
};

const rsaKey = ({ modulus, publicExponent }: Attributes): Buffer | undefined =>
  modulus === undefined || publicExponent === undefined
    ? undefined
    : spkiOf(oidRsa, writeDer(tagSequence, writeUnsigned(bytes(modulus)), writeUnsigned(bytes(publicExponent))));

const partsKey = (keyType: number | undefined, attributes: Attributes, at: string): Buffer | undefined => {
  if (keyType === ckk.rsa) return rsaKey(attributes);
  if (keyType === ckk.ec) return ecKey(attributes, at);
  if (keyType === ckk.ecEdwards) return edwardsKey(attributes, at);
  throw unsupported(`The key in ${at} is of type CKA_KEY_TYPE ${keyType}: create an EC, RSA or Ed25519 key.`);
};

const certificateKey = (der: string | undefined): KeyObject | undefined => {
  if (der === undefined) return undefined;
  try {
    return new X509Certificate(bytes(der)).publicKey;
  } catch {
    return undefined;
  }
};

/**
 * The public key that belongs to a private one: of its public key object, else of the private key itself (RSA; or
 * CKA_PUBLIC_KEY_INFO), else of its certificate. Throws `KEY_UNSUPPORTED` with the reason, `KEY_PUBLIC_MISSING` without any.
 */
const publicKeyIn = (found: FoundKey, at: string): KeyObject => {
  const { keyType } = found.private;
  const empty: Attributes = {};
  const info = found.public?.publicKeyInfo || found.private.publicKeyInfo;
  const spki =
    partsKey(keyType, found.public ?? empty, at) ??
    partsKey(keyType, found.private, at) ??
    (info === undefined || info === '' ? undefined : bytes(info));
  const key = spki === undefined ? certificateKey(found.certificate?.value) : readSpki(spki);
  if (key !== undefined) return key;
  if (spki !== undefined) throw pkcs11Garbage(at, 'the public key is not readable');
  throw new CountersignError(
    'failed_precondition',
    'KEY_PUBLIC_MISSING',
    `${at} has no public key for the private one: store a public key object or a certificate with the same CKA_ID.`,
  );
};

const mechanismOf = (version: KeyVersion): MechanismName => {
  const algorithm = algorithms[version.algorithm];
  if (algorithm.type === 'ec') return 'ecdsa';
  if (algorithm.type === 'ed25519') return 'eddsa';
  return algorithm.padding === 'pss' ? 'rsa-pss' : 'rsa-pkcs1v15';
};
const mechanismNames = {
  ecdsa: 'CKM_ECDSA',
  eddsa: 'CKM_EDDSA',
  'rsa-pkcs1v15': 'CKM_RSA_PKCS',
  'rsa-pss': 'CKM_RSA_PKCS_PSS',
};

/** CK_DATE (YYYYMMDD) -> the start of that day, RFC 3339; undefined for an empty one. */
const dateOf = (hex: string | undefined): string | undefined => {
  const [, year, month, day] = /^(\d{4})(\d\d)(\d\d)$/.exec(bytes(hex).toString('latin1')) ?? [];
  const time = Date.parse(`${year}-${month}-${day}T00:00:00Z`);
  return Number.isNaN(time) ? undefined : new Date(time).toISOString();
};
const dayMs = 86_400_000;

/** Throws `KEY_NOT_YET_VALID` or `KEY_EXPIRED` outside of the days that the token states. */
export const assertInTime = ({ validFrom, validUntil }: ListedVersion, at: string, now = Date.now()): void => {
  const refuse = (reason: string, message: string): CountersignError =>
    new CountersignError('failed_precondition', reason, message);
  if (validFrom !== undefined && now < Date.parse(validFrom)) {
    throw refuse('KEY_NOT_YET_VALID', `The key in ${at} is not valid before ${validFrom} (CKA_START_DATE).`);
  }
  if (validUntil !== undefined && now >= Date.parse(validUntil)) {
    throw refuse(
      'KEY_EXPIRED',
      `The key in ${at} is valid until ${validUntil} (CKA_END_DATE): configure its successor.`,
    );
  }
};

/**
 * What a token tells of a key -> its one version, whose id is the SHA-256 of the public key: PKCS#11 has no versions. Throws
 * `KEY_UNSUPPORTED` for one that cannot sign as we do.
 */
export const readVersion = (found: FoundKey, name: string, rsa: RsaScheme, at: string): ListedVersion => {
  const { sign, alwaysAuthenticate } = found.private;
  if (sign === false) throw unsupported(`The key in ${at} is not for signing: it needs CKA_SIGN.`);
  if (alwaysAuthenticate === true) {
    throw unsupported(
      `The key in ${at} wants a login for every signature (CKA_ALWAYS_AUTHENTICATE): it is for people; create one without.`,
    );
  }
  const publicKey = publicKeyOf(publicKeyIn(found, at), rsa);
  const firstDay = dateOf(found.private.startDate) ?? dateOf(found.public?.startDate);
  const lastDay = dateOf(found.private.endDate) ?? dateOf(found.public?.endDate);
  const version: ListedVersion = {
    key: name,
    version: createHash('sha256').update(publicKey.spki).digest('hex'),
    ...publicKey,
    state: 'enabled',
    createdAt: undefined,
    validFrom: firstDay,
    // The day itself still counts.
    validUntil: lastDay === undefined ? undefined : new Date(Date.parse(lastDay) + dayMs).toISOString(),
  };
  const mechanism = mechanismOf(version);
  if (!found.mechanisms.includes(mechanism)) {
    throw unsupported(`${at} does not sign with ${mechanismNames[mechanism]}, which this key needs.`);
  }
  return version;
};

/** The facts that the level of protection follows from: what the token says of itself and of the key. */
export const evidenceOf = (token: TokenFacts, { private: key }: FoundKey): Readonly<Record<string, string>> => ({
  manufacturer: token.manufacturer,
  model: token.model,
  serial: token.serial,
  firmware: token.firmware,
  library: token.library,
  CKF_HW_SLOT: String((token.slotFlags & ckf.hwSlot) !== 0),
  CKA_ID: key.id ?? '',
  CKA_SENSITIVE: String(key.sensitive ?? 'unknown'),
  CKA_EXTRACTABLE: String(key.extractable ?? 'unknown'),
  CKA_ALWAYS_SENSITIVE: String(key.alwaysSensitive ?? 'unknown'),
  CKA_NEVER_EXTRACTABLE: String(key.neverExtractable ?? 'unknown'),
  CKA_LOCAL: String(key.local ?? 'unknown'),
});

/**
 * `hsm` for a key that never was outside of a token that says it is hardware, else `software`. FIPS levels cannot be read
 * through PKCS#11: a certificate is about a model with a firmware in a mode, which no attribute states.
 */
export const protectionOf = (token: TokenFacts, { private: key }: FoundKey): ProtectionLevel => {
  const hardware = (token.slotFlags & ckf.hwSlot) !== 0 && !/softhsm/i.test(`${token.manufacturer} ${token.model}`);
  const kept = key.sensitive === true && key.extractable === false;
  return hardware && kept && key.alwaysSensitive === true && key.neverExtractable === true ? 'hsm' : 'software';
};

export const originOf = ({ private: { local } }: FoundKey): KeyOrigin => {
  if (local === undefined) return 'unknown';
  return local ? 'generated' : 'imported';
};

/**
 * What the token is asked for, for exactly this version: a digest (RSA PKCS#1 v1.5 in its DigestInfo), Ed25519 the message.
 * Throws `DIGEST_NOT_SUPPORTED` as `assertSignable`, and `MESSAGE_TOO_LARGE` for an Ed25519 message of more than 4 MiB.
 */
export const signInput = (
  version: KeyVersion,
  toSign: ToSign,
): { readonly mechanism: MechanismName; readonly data: Uint8Array } => {
  assertSignable(version.algorithm, toSign.kind);
  const mechanism = mechanismOf(version);
  const { hash } = algorithms[version.algorithm];
  if (toSign.kind === 'message' && hash === undefined) {
    if (toSign.message.length <= maxMessageBytes) return { mechanism, data: toSign.message };
    throw new CountersignError(
      'failed_precondition',
      'MESSAGE_TOO_LARGE',
      `Ed25519 keys in PKCS#11 tokens sign messages of at most ${maxMessageBytes} bytes: use an ECDSA or RSA key.`,
    );
  }
  const digest =
    toSign.kind === 'digest'
      ? toSign.digest
      : createHash(hash ?? 'sha256')
          .update(toSign.message)
          .digest();
  return { mechanism, data: mechanism === 'rsa-pkcs1v15' ? digestInfo(digest) : digest };
};

/** The token's signature -> ours: ECDSA from r || s to DER, the others as they are. Throws `data_loss` for what is none. */
export const readSignature = (raw: Buffer, version: KeyVersion, at: string): Uint8Array => {
  const algorithm = algorithms[version.algorithm];
  const signature = algorithm.type === 'ec' ? ecdsaRawToDer(raw, algorithm.curve) : raw;
  if (signature === undefined) throw pkcs11Garbage(at, 'no ECDSA signature');
  return signature;
};
