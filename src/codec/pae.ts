/**
 * DSSE pre-authentication encoding (DSSE v1 protocol, "Signature Definition"): the bytes that an envelope's signature
 * covers, `DSSEv1 <bytes in type> <type> <bytes in payload> <payload>`.
 *
 * @param payloadType UTF-8 text; its length is counted in bytes, not characters.
 * @param payload the payload as it is, not base64.
 */
export const pae = (payloadType: string, payload: Uint8Array): Buffer => {
  const type = Buffer.from(payloadType, 'utf8');
  return Buffer.concat([
    Buffer.from(`${paePrefix}${type.length} `, 'latin1'),
    type,
    Buffer.from(` ${payload.length} `, 'latin1'),
    payload,
  ]);
};

/** How every pre-authentication encoding begins. */
export const paePrefix = 'DSSEv1 ';
