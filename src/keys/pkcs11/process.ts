// The process that holds a PKCS#11 module: a module is foreign code in the memory of its process, with its own OpenSSL and
// threads, and may crash or hang; then this process ends, and the service does not.
import { Socket } from 'node:net';
import type { Pkcs11Module } from './module.ts';
import type { Sent } from './protocol.ts';
import { createToken, type LoadModule, ModuleProblem } from './token.ts';
import { createWire } from './wire.ts';

/** The file descriptor of the channel to the service. */
export const channelFd = 3;

const messageOf = (caught: unknown): string =>
  (caught instanceof Error ? caught.message : String(caught)).slice(0, 500);

/** Through `pkcs11js`, an optional dependency whose native part is built by hand. */
const loadModule: LoadModule = async (path) => {
  let create: new () => Pkcs11Module & { load(path: string): void };
  try {
    const library: unknown = await import('pkcs11js');
    const { default: exported } = library as { default: { PKCS11: typeof create } };
    create = exported.PKCS11;
  } catch (caught) {
    throw new ModuleProblem({ kind: 'addon', message: messageOf(caught) });
  }
  const module = new create();
  try {
    module.load(path);
  } catch (caught) {
    throw new ModuleProblem({ kind: 'module', message: messageOf(caught) });
  }
  return module;
};

/** Answers requests that come through `channel` until it ends; then ends the process. */
export const servePkcs11 = (load: LoadModule): void => {
  const channel = new Socket({ fd: channelFd, readable: true, writable: true });
  const end = (): never => process.exit(0);
  channel.on('end', end).on('close', end).on('error', end);
  // The service decides when this ends: a signal to its whole process group must not break off what it still drains.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

  const token = createToken(load);
  const handle = async (sent: Sent): Promise<void> => {
    if ('cancel' in sent) return token.cancel(sent.cancel);
    const outcome = await token.answer(sent.id, sent);
    wire.send({ id: sent.id, ...outcome }, sent.op === 'sign' && sent.alone);
  };
  const wire = createWire(
    channel,
    (messages) => {
      for (const message of messages) void handle(message as Sent);
    },
    end,
  );
};

if (import.meta.main) servePkcs11(loadModule);
