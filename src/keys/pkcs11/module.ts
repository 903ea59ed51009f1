/** Handles of slots, sessions and objects: eight opaque bytes. */
export type Handle = Buffer;

export type Attribute = { readonly type: number; readonly value?: number | boolean | string | Buffer };

export type TokenInfo = {
  readonly label: string;
  readonly serialNumber: string;
  readonly manufacturerID: string;
  readonly model: string;
  readonly flags: number;
  readonly maxSessionCount: number;
  readonly firmwareVersion: { readonly major: number; readonly minor: number };
};

/**
 * As much of class PKCS11 of `pkcs11js` as is used: the functions of PKCS#11 (v2.40) under their own names. Errors carry
 * `code` (CKR_*, a number), `method` and, as `message`, the name of the code.
 */
export interface Pkcs11Module {
  C_Initialize(options?: { flags: number }): void;
  C_Finalize(): void;
  C_GetInfo(): { manufacturerID: string; libraryDescription: string; libraryVersion: { major: number; minor: number } };
  C_GetSlotList(tokenPresent: boolean): Handle[];
  C_GetSlotInfo(slot: Handle): { flags: number };
  C_GetTokenInfo(slot: Handle): TokenInfo;
  C_GetMechanismInfo(slot: Handle, mechanism: number): { flags: number };
  C_OpenSession(slot: Handle, flags: number): Handle;
  C_CloseSession(session: Handle): void;
  C_Login(session: Handle, userType: number, pin: string): void;
  C_FindObjectsInit(session: Handle, template: Attribute[]): void;
  C_FindObjects(session: Handle, maxObjectCount: number): Handle[];
  C_FindObjectsFinal(session: Handle): void;
  C_GetAttributeValue(session: Handle, object: Handle, template: Attribute[]): { type: number; value: Buffer }[];
  C_SignInit(session: Handle, mechanism: { mechanism: number; parameter?: object }, key: Handle): void;
  C_Sign(session: Handle, data: Buffer, signature: Buffer): Buffer;
  C_Sign(
    session: Handle,
    data: Buffer,
    signature: Buffer,
    done: (error: Error | null, signature: Buffer | null) => void,
  ): void;
}
