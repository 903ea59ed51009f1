import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/*
 * A client for one unary gRPC call, repeated, that costs a tenth of node:http2: frames are made once and sent as they are
 * (RFC 9113 section 4.1), the token is sent once a connection and then named by its place in the dynamic table, as
 * every HTTP/2 client does (RFC 7541 section 2.3.2). The server is told to keep no table of its own, so that equal
 * trailers are equal bytes: an answer is good when its trailers are those of the first, which the caller has checked.
 */

/** Ends of calls: how long each took, in milliseconds, and whether it was good. */
export type OnEnd = (milliseconds: number, good: boolean) => void;

export type RawConnection = {
  /** Sends one call; `OnEnd` is called when it has ended. At most 64 at once. */
  send(): void;
  close(): void;
};

const frameType = { data: 0, headers: 1, resetStream: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const;
const flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4 } as const;
const maxWindow = 0x7fffffff;

const frame = (type: number, flags: number, stream: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};

/** RFC 7541 section 5.1: an integer in the low `bits` of a byte that has `prefix` above. */
const integer = (value: number, bits: number, prefix = 0): Buffer => {
  const limit = 2 ** bits - 1;
  if (value < limit) return Buffer.from([prefix | value]);
  const bytes = [prefix | limit];
  let rest = value - limit;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
};
/** Section 5.2, not Huffman-coded. */
const text = (value: string): Buffer => Buffer.concat([integer(value.length, 7), Buffer.from(value, 'latin1')]);
/** Section 6.2.2: a value that is not added to the table, under a name of the static table. */
const literal = (nameIndex: number, value: string): Buffer => Buffer.concat([integer(nameIndex, 4), text(value)]);

/** The header block of the first call of a connection, and of all later ones. */
const headerBlocks = (authority: string, path: string, token: string): { first: Buffer; later: Buffer } => {
  const common = Buffer.concat([
    Buffer.from([0x83, 0x86]), // :method POST, :scheme http
    literal(4, path),
    literal(1, authority),
    literal(31, 'application/grpc'),
    Buffer.concat([Buffer.from([0]), text('te'), text('trailers')]),
  ]);
  if (token === '') return { first: common, later: common };
  const added = Buffer.concat([integer(23, 6, 0x40), text(`Bearer ${token}`)]); // section 6.2.1: enters the table
  return { first: Buffer.concat([common, added]), later: Buffer.concat([common, integer(62, 7, 0x80)]) };
};

/** A message as gRPC sends it: not compressed, its length, the message. */
const grpcMessage = (message: Buffer): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
};

export const openRawConnection = async (
  target: string,
  call: { readonly path: string; readonly token: string; readonly message: Buffer },
  onEnd: OnEnd,
): Promise<RawConnection> => {
  const [host = '', port = ''] = target.split(':');
  const socket: Socket = connect(Number(port), host);
  await once(socket, 'connect');
  socket.setNoDelay(true);
  const settings = Buffer.alloc(18);
  for (const [index, [id, value]] of [
    [1, 0],
    [2, 0],
    [4, maxWindow],
  ].entries()) {
    settings.writeUInt16BE(id ?? 0, index * 6);
    settings.writeUInt32BE(value ?? 0, index * 6 + 2);
  }
  const wide = Buffer.alloc(4);
  wide.writeUInt32BE(maxWindow - 65_535);
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(frame(frameType.settings, 0, 0, settings));
  socket.write(frame(frameType.windowUpdate, 0, 0, wide));

  const blocks = headerBlocks(target, call.path, call.token);
  const body = frame(frameType.data, flag.endStream, 0, grpcMessage(call.message));
  const packet = (block: Buffer): Buffer => Buffer.concat([frame(frameType.headers, flag.endHeaders, 0, block), body]);
  const packets = { first: packet(blocks.first), later: packet(blocks.later) };
  const bodyAt = { first: packets.first.length - body.length, later: packets.later.length - body.length };
  const started = new Map<number, number>();
  const answered = new Set<number>();
  let goodTrailers: Buffer | undefined;
  let nextStream = 1;

  const end = (stream: number, good: boolean): void => {
    const start = started.get(stream);
    if (start === undefined) return;
    started.delete(stream);
    answered.delete(stream);
    onEnd(performance.now() - start, good);
  };
  const receive = (type: number, flags: number, stream: number, payload: Buffer): void => {
    if (type === frameType.data && payload.length > 5) answered.add(stream);
    else if (type === frameType.settings && !(flags & flag.ack))
      socket.write(frame(type, flag.ack, 0, Buffer.alloc(0)));
    else if (type === frameType.ping && !(flags & flag.ack)) socket.write(frame(type, flag.ack, 0, payload));
    else if (type === frameType.resetStream) end(stream, false);
    else if (type === frameType.goAway) socket.destroy(new Error('the server said goodbye'));
    if (type !== frameType.headers || !(flags & flag.endStream)) return;
    goodTrailers ??= Buffer.from(payload);
    end(stream, answered.has(stream) && payload.equals(goodTrailers));
  };

  let pending: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    // What is sent while one chunk is read leaves in one packet, as with any client.
    socket.cork();
    let at = 0;
    while (pending.length - at >= 9) {
      const length = pending.readUIntBE(at, 3);
      if (pending.length - at < 9 + length) break;
      const stream = pending.readUInt32BE(at + 5) & maxWindow;
      receive(pending.readUInt8(at + 3), pending.readUInt8(at + 4), stream, pending.subarray(at + 9, at + 9 + length));
      at += 9 + length;
    }
    pending = pending.subarray(at);
    socket.uncork();
  });

  return {
    send: () => {
      const which = nextStream === 1 ? 'first' : 'later';
      const bytes = Buffer.from(packets[which]);
      bytes.writeUInt32BE(nextStream, 5);
      bytes.writeUInt32BE(nextStream, bodyAt[which] + 5);
      started.set(nextStream, performance.now());
      nextStream += 2;
      socket.write(bytes);
    },
    close: () => socket.destroy(),
  };
};
