import { cka, ckf, cko, ckr } from './constants.ts';
import type { Attribute, Handle, Pkcs11Module } from './module.ts';
import type { Attributes, FoundKey, KeySelector, MechanismName } from './protocol.ts';
import { mechanismNumber } from './signing.ts';

const maxListed = 16;
/** The longest attribute that is handed on: a certificate. */
const maxValueBytes = 8 * 1024;

const hidden = new Set<unknown>([ckr.attributeSensitive, ckr.attributeTypeInvalid, ckr.attributeValueInvalid]);

const dates = new Set<number>([cka.startDate, cka.endDate]);

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? (error as { readonly code: unknown }).code : undefined;

/** One attribute; undefined when the object does not have it or does not give it. */
const read = (module: Pkcs11Module, session: Handle, object: Handle, type: number): Buffer | undefined => {
  try {
    const value = module.C_GetAttributeValue(session, object, [{ type }])[0]?.value;
    return value === undefined || value.length > maxValueBytes ? undefined : value;
  } catch (caught) {
    // The binding throws a TypeError for an empty date, which tokens give for "no date"; SoftHSM cannot read those of
    // private keys at all.
    const dateless = dates.has(type) && (caught instanceof TypeError || codeOf(caught) === ckr.generalError);
    if (hidden.has(codeOf(caught)) || dateless) return undefined;
    throw caught;
  }
};

/** CK_ULONG, little-endian on every machine that Node has packages for here. */
const numberOf = (value: Buffer): number => (value.length >= 4 ? value.readUIntLE(0, Math.min(value.length, 6)) : -1);

const boolean = (value: Buffer): boolean => value.some((byte) => byte !== 0);
const hex = (value: Buffer): string => value.toString('hex');

const readers = {
  keyType: numberOf,
  id: hex,
  sign: boolean,
  sensitive: boolean,
  extractable: boolean,
  alwaysSensitive: boolean,
  neverExtractable: boolean,
  local: boolean,
  alwaysAuthenticate: boolean,
  startDate: hex,
  endDate: hex,
  modulus: hex,
  publicExponent: hex,
  ecParams: hex,
  ecPoint: hex,
  publicKeyInfo: hex,
  value: hex,
} as const;
type Name = keyof typeof readers;

const facts: readonly Name[] = [
  'keyType',
  'id',
  'sign',
  'sensitive',
  'extractable',
  'alwaysSensitive',
  'neverExtractable',
  'local',
  'alwaysAuthenticate',
  'startDate',
  'endDate',
];
const publicParts: readonly Name[] = ['modulus', 'publicExponent', 'ecParams', 'ecPoint', 'publicKeyInfo'];

const readAll = (module: Pkcs11Module, session: Handle, object: Handle, names: readonly Name[]): Attributes => {
  const values: Record<string, unknown> = {};
  for (const name of names) {
    const value = read(module, session, object, cka[name]);
    if (value !== undefined) values[name] = readers[name](value);
  }
  return values as Attributes;
};

const search = (module: Pkcs11Module, session: Handle, template: readonly Attribute[]): Handle[] => {
  module.C_FindObjectsInit(session, [...template]);
  try {
    return module.C_FindObjects(session, maxListed);
  } finally {
    module.C_FindObjectsFinal(session);
  }
};

const templateOf = (objectClass: number, { label, id }: KeySelector): Attribute[] => [
  { type: cka.class, value: objectClass },
  ...(label === undefined ? [] : [{ type: cka.label, value: Buffer.from(label, 'utf8') }]),
  ...(id === undefined ? [] : [{ type: cka.id, value: Buffer.from(id, 'hex') }]),
];

/** `label "release", id 0a01`: how a key is told to people. */
const named = (module: Pkcs11Module, session: Handle, object: Handle): string => {
  const label = read(module, session, object, cka.label)?.toString('utf8').slice(0, 64) ?? '';
  const id = read(module, session, object, cka.id)?.toString('hex').slice(0, 64) ?? '';
  return `label ${JSON.stringify(label)}, id ${id === '' ? '(none)' : id}`;
};

const signsWith = (module: Pkcs11Module, slot: Handle, name: MechanismName): boolean => {
  try {
    return (module.C_GetMechanismInfo(slot, mechanismNumber(name)).flags & ckf.sign) !== 0;
  } catch (caught) {
    if (codeOf(caught) === ckr.mechanismInvalid) return false;
    throw caught;
  }
};
const names: readonly MechanismName[] = ['ecdsa', 'rsa-pkcs1v15', 'rsa-pss', 'eddsa'];

export type Found =
  | { readonly handle: Handle; readonly found: Omit<FoundKey, 'key'> }
  | { readonly matches: number; readonly seen: readonly string[] };

/**
 * The one private key that a selector means, with its public key or certificate, which have its CKA_ID (or, without one, its
 * label). None or several: what there is instead.
 */
export const findKey = (module: Pkcs11Module, slot: Handle, session: Handle, selector: KeySelector): Found => {
  const matches = search(module, session, templateOf(cko.privateKey, selector));
  const [handle] = matches;
  if (handle === undefined || matches.length > 1) {
    const all = handle === undefined ? search(module, session, templateOf(cko.privateKey, {})) : matches;
    return { matches: matches.length, seen: all.map((object) => named(module, session, object)) };
  }
  const own = readAll(module, session, handle, [...facts, ...publicParts]);
  const label = read(module, session, handle, cka.label)?.toString('utf8');
  const same: KeySelector = own.id === undefined || own.id === '' ? { label } : { id: own.id };
  const publics = search(module, session, templateOf(cko.publicKey, same))
    .map((object) => readAll(module, session, object, ['keyType', 'startDate', 'endDate', ...publicParts]))
    .filter(({ keyType }) => keyType === own.keyType);
  const certificates =
    publics.length === 0
      ? search(module, session, templateOf(cko.certificate, same)).map((object) =>
          readAll(module, session, object, ['value']),
        )
      : [];
  return {
    handle,
    found: {
      private: own,
      ...(publics[0] === undefined ? {} : { public: publics[0] }),
      ...(certificates[0] === undefined ? {} : { certificate: certificates[0] }),
      mechanisms: names.filter((name) => signsWith(module, slot, name)),
    },
  };
};
