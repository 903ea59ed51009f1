/** Bytes, and the room that they share with longer ones that were made of them. They never change. */
export type GrowingBytes = { readonly bytes: Uint8Array; readonly room: Room };

type Room = { readonly buffer: Buffer; used: number };

/** A quarter more than is needed: then half a megabyte is copied once in some two hundred times that a little is appended. */
const roomFor = (bytes: Uint8Array, length: number): Room => {
  const buffer = Buffer.allocUnsafe(length + (length >> 2));
  buffer.set(bytes);
  return { buffer, used: bytes.byteLength };
};

export const growing = (bytes: Uint8Array): GrowingBytes => {
  const room = roomFor(bytes, bytes.byteLength);
  return { bytes: room.buffer.subarray(0, bytes.byteLength), room };
};

/** These bytes and those after them, in the same room where there is some and nobody else has taken it. */
export const appended = ({ bytes, room: before }: GrowingBytes, added: Uint8Array): GrowingBytes => {
  const length = bytes.byteLength + added.byteLength;
  const fits = before.used === bytes.byteLength && length <= before.buffer.byteLength;
  const room = fits ? before : roomFor(bytes, length);
  room.buffer.set(added, bytes.byteLength);
  room.used = length;
  return { bytes: room.buffer.subarray(0, length), room };
};
