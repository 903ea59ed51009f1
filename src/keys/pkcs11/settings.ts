import { z } from 'zod';
import { commonSettings, fipsCertificate, line, secret } from '../common-settings.ts';
import type { Pkcs11Connection } from './client.ts';
import type { KeySelector } from './protocol.ts';
import { readPkcs11Uri } from './uri.ts';

const label = (what: string, bytes: number) =>
  line.refine(
    (text) => Buffer.byteLength(text) <= bytes,
    `must have at most ${bytes} bytes, as the label of a ${what}`,
  );
const absolute = line.refine(
  (path) => path.startsWith('/') || /^[A-Za-z]:[\\/]/.test(path),
  'must be an absolute path',
);

const defaultSessions = 8;

const base = z.strictObject({
  ...commonSettings,
  kind: z.literal('pkcs11'),
  fipsCertificate,
  ref: line.optional().describe('The key as cosign users write it (RFC 7512), instead of the fields that it says.'),
  module: absolute.optional().describe("Path of the PKCS#11 module: the vendor's shared library."),
  token: label('token', 32).optional().describe('Label of the token.'),
  serial: label('token', 16).optional().describe('Serial number of the token.'),
  slot: z
    .int()
    .min(0, 'must be at least 0')
    .optional()
    .describe('Id of the slot; many modules number slots anew after changes, so prefer token or serial.'),
  label: label('key', 1024).optional().describe('Label of the private key (CKA_LABEL).'),
  id: z
    .string()
    .regex(/^(?:[0-9A-Fa-f]{2}){1,128}$/, 'must be an even number of hex digits, such as 0a01')
    .transform((hex) => hex.toLowerCase())
    .optional()
    .describe('Id of the private key (CKA_ID), hex.'),
  pin: secret.min(1, 'must not be empty').optional().describe('The user PIN; take it from the environment.'),
  pinFile: line.optional().describe('File with the user PIN; one final newline is dropped. Read at every login.'),
  maxSessions: z
    .int()
    .min(1, 'must be at least 1')
    .max(256, 'must be at most 256')
    .default(defaultSessions)
    .describe('Sessions that one process of the service may open at the token.'),
});

type Settings = z.infer<typeof base>;

/** Where the key is, however it was written. */
export const pkcs11Target = (
  settings: Settings,
): { readonly connection: Pkcs11Connection; readonly key: KeySelector } => {
  const read = settings.ref === undefined ? {} : readPkcs11Uri(settings.ref);
  const uri = typeof read === 'string' ? {} : read;
  const { module, token, serial, slot, label: keyLabel, id, pin, pinFile, maxSessions } = settings;
  return {
    connection: {
      module: module ?? uri.modulePath ?? '',
      token: {
        label: token ?? uri.token,
        serial: serial ?? uri.serial,
        manufacturer: uri.manufacturer,
        model: uri.model,
        slot: slot === undefined ? uri.slot : String(slot),
      },
      pin,
      pinFile: pinFile ?? uri.pinSource,
      maxSessions,
    },
    key: { label: keyLabel ?? uri.object, id: id ?? uri.id },
  };
};

/** Fields that a reference may say, with the name of each there. */
const alsoInRef = [
  ['module', 'modulePath'],
  ['token', 'token'],
  ['serial', 'serial'],
  ['slot', 'slot'],
  ['label', 'object'],
  ['id', 'id'],
  ['pinFile', 'pinSource'],
] as const;

/** A key in a token that a PKCS#11 module reaches. */
export const pkcs11Settings = base.superRefine((settings, context) => {
  const refuse = (field: keyof Settings, message: string): void =>
    context.addIssue({ code: 'custom', path: [field], message });
  if (settings.ref !== undefined) {
    const uri = readPkcs11Uri(settings.ref);
    if (typeof uri === 'string') return refuse('ref', uri);
    for (const [field, attribute] of alsoInRef) {
      if (settings[field] !== undefined && uri[attribute] !== undefined) refuse(field, 'must not be set: ref says it');
    }
    if (uri.modulePath !== undefined && !uri.modulePath.startsWith('/')) {
      refuse('ref', 'must have an absolute path in module-path');
    }
  }
  const { connection, key } = pkcs11Target(settings);
  if (connection.module === '') refuse('module', 'must be set, or module-path in ref');
  if (Object.values(connection.token).every((each) => each === undefined)) {
    refuse('token', 'one of token, serial and slot must be set, or token, serial or slot-id in ref');
  }
  if (key.label === undefined && key.id === undefined) refuse('label', 'one of label and id must be set, or both');
  if (connection.pin !== undefined && connection.pinFile !== undefined)
    refuse('pinFile', 'pin and pinFile cannot both be set');
});

export type Pkcs11Settings = z.infer<typeof pkcs11Settings>;
