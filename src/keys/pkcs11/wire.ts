import type { Duplex } from 'node:stream';

/** The longest line that is taken; a message to sign is far shorter (`maxMessageBytes`). */
const maxLineBytes = 8 * 1024 * 1024;

/** The largest message that goes to a token whole (Ed25519), in bytes; all else goes as a digest. */
export const maxMessageBytes = 4 * 1024 * 1024;

/** `alone`: nothing else will be sent in this turn that could share a line with it. */
export type Wire = { send(message: object, alone?: boolean): void };

/**
 * Messages between this process and the one that holds the PKCS#11 module: JSON lines, each an array of messages. What is
 * sent in one turn of the event loop goes out as one line, so that many signatures at once cost few system calls.
 * `onBroken` is called for a line that is too long or no JSON; whoever gets that must not trust the channel any more.
 */
export const createWire = (
  channel: Duplex,
  onMessages: (messages: readonly unknown[]) => void,
  onBroken: (why: string) => void,
): Wire => {
  let outgoing: object[] = [];
  const flush = (): void => {
    const messages = outgoing;
    outgoing = [];
    if (channel.writable) channel.write(`${JSON.stringify(messages)}\n`);
  };

  const takeLine = (line: Buffer): void => {
    let messages: unknown;
    try {
      messages = JSON.parse(line.toString('utf8'));
    } catch {
      messages = undefined;
    }
    if (Array.isArray(messages)) onMessages(messages);
    else onBroken('a line that is not JSON');
  };

  let begun: Buffer[] = [];
  let begunBytes = 0;
  channel.on('data', (chunk: Buffer) => {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
      const piece = chunk.subarray(start, end);
      const line = begun.length === 0 ? piece : Buffer.concat([...begun, piece]);
      begun = [];
      begunBytes = 0;
      start = end + 1;
      takeLine(line);
    }
    if (start === chunk.length) return;
    begun.push(chunk.subarray(start));
    begunBytes += chunk.length - start;
    if (begunBytes > maxLineBytes) onBroken('a line that is too long');
  });

  return {
    send: (message, alone = false) => {
      if (outgoing.push(message) > 1) return;
      if (alone) flush();
      else setImmediate(flush);
    },
  };
};
