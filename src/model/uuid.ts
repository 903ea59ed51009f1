import { randomFillSync } from 'node:crypto';

const randomBytesPerId = 10;
const pool = Buffer.alloc(randomBytesPerId * 512);
let used = pool.length;

/** A UUID version 7 (RFC 9562 section 5.7), lower case: Unix milliseconds, then 74 random bits. */
export const uuidv7 = (now: number = Date.now()): string => {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const bytes = Buffer.allocUnsafe(16);
  bytes.writeUIntBE(now, 0, 6);
  pool.copy(bytes, 6, used, used + randomBytesPerId);
  used += randomBytesPerId;
  bytes.writeUInt8(0x70 | (bytes.readUInt8(6) & 0x0f), 6);
  bytes.writeUInt8(0x80 | (bytes.readUInt8(8) & 0x3f), 8);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
};
