import { z } from 'zod';

/** Which token: all that is given must be equal. `slot`: its id, decimal. */
export type TokenSelector = {
  readonly label?: string | undefined;
  readonly serial?: string | undefined;
  readonly manufacturer?: string | undefined;
  readonly model?: string | undefined;
  readonly slot?: string | undefined;
};

/** Which private key: CKA_LABEL and CKA_ID (hex); all that is given must be equal. */
export type KeySelector = { readonly label?: string | undefined; readonly id?: string | undefined };

export type MechanismName = 'ecdsa' | 'rsa-pkcs1v15' | 'rsa-pss' | 'eddsa';

/** What the process that holds the module is asked. `open` first, then `login`, then the others in any order. */
export type Request =
  | { readonly op: 'open'; readonly module: string; readonly token: TokenSelector }
  /** Without a PIN there is no login: some modules need none. */
  | { readonly op: 'login'; readonly pin: string | undefined; readonly maxSessions: number }
  | { readonly op: 'find'; readonly key: KeySelector }
  /**
   * `key`: as `find` numbered it. `data`: base64 of what the mechanism takes. `alone`: nothing else was asked when this was
   * sent, so it need not make room for others.
   */
  | {
      readonly op: 'sign';
      readonly key: number;
      readonly mechanism: MechanismName;
      readonly data: string;
      readonly alone: boolean;
    };

/** A request with its number; `cancel` takes one back that has not begun. */
export type Sent = (Request & { readonly id: number }) | { readonly cancel: number };

const text = z.string().max(4096);
const hex = z
  .string()
  .max(16_384)
  .regex(/^[0-9a-f]*$/);
const seen = z.array(text).max(64);

/** Why a request failed. `seen`: the tokens or keys that there are, for people. */
export const problemSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('pkcs11'), method: text, code: z.number(), name: text }),
  z.strictObject({ kind: z.literal('addon'), message: text }),
  z.strictObject({ kind: z.literal('module'), message: text }),
  z.strictObject({ kind: z.literal('token'), matches: z.int(), seen }),
  z.strictObject({ kind: z.literal('key'), matches: z.int(), seen }),
  z.strictObject({ kind: z.literal('bug'), message: text }),
]);
export type Problem = z.infer<typeof problemSchema>;

/** C_GetSlotInfo, C_GetTokenInfo and C_GetInfo, as far as they matter. `flags` are those of the token. */
export const tokenFactsSchema = z.strictObject({
  label: text,
  serial: text,
  manufacturer: text,
  model: text,
  firmware: text,
  library: text,
  slotFlags: z.int(),
  flags: z.int(),
});
export type TokenFacts = z.infer<typeof tokenFactsSchema>;

/** Attributes of an object; one that the token does not have, or does not give, is missing. Bytes are hex. */
const attributesSchema = z.strictObject({
  keyType: z.int().optional(),
  id: hex.optional(),
  sign: z.boolean().optional(),
  sensitive: z.boolean().optional(),
  extractable: z.boolean().optional(),
  alwaysSensitive: z.boolean().optional(),
  neverExtractable: z.boolean().optional(),
  local: z.boolean().optional(),
  alwaysAuthenticate: z.boolean().optional(),
  startDate: hex.optional(),
  endDate: hex.optional(),
  modulus: hex.optional(),
  publicExponent: hex.optional(),
  ecParams: hex.optional(),
  ecPoint: hex.optional(),
  publicKeyInfo: hex.optional(),
  value: hex.optional(),
});
export type Attributes = z.infer<typeof attributesSchema>;

export const foundKeySchema = z.strictObject({
  key: z.int(),
  private: attributesSchema,
  /** CKO_PUBLIC_KEY of the same CKA_ID (or label). */
  public: attributesSchema.optional(),
  /** CKO_CERTIFICATE of the same CKA_ID, when there is no public key. */
  certificate: attributesSchema.optional(),
  /** Mechanisms that the token signs with. */
  mechanisms: z.array(z.enum(['ecdsa', 'rsa-pkcs1v15', 'rsa-pss', 'eddsa'])),
});
export type FoundKey = z.infer<typeof foundKeySchema>;

export const loggedInSchema = z.strictObject({ sessions: z.int() });

/** base64, as a signature of at most 1024 bytes. */
export const signatureSchema = z.base64().max(2048);

export const answerSchema = z.union([
  z.strictObject({ id: z.int(), ok: z.unknown() }),
  z.strictObject({ id: z.int(), problem: problemSchema }),
]);
