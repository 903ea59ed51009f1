import { ckf, ckr, cku } from './constants.ts';
import type { Handle, Pkcs11Module, TokenInfo } from './module.ts';
import { findKey } from './objects.ts';
import type { FoundKey, Problem, Request, TokenFacts, TokenSelector } from './protocol.ts';
import { createSessions, type Sessions } from './signing.ts';

/** Loads a PKCS#11 module by its path. */
export type LoadModule = (path: string) => Promise<Pkcs11Module>;

type Opened = { readonly module: Pkcs11Module; readonly slot: Handle; readonly threads: boolean };
type LoggedIn = Opened & { readonly session: Handle; readonly sessions: Sessions; readonly keys: Handle[] };

/** What becomes of a request. */
export type Outcome = { readonly ok: unknown } | { readonly problem: Problem };

const bounded = (text: string): string => text.slice(0, 500);

/** Whatever was thrown -> the problem to tell: the code of PKCS#11 where there is one. */
export const problemOf = (caught: unknown): Problem => {
  if (!(caught instanceof Error)) return { kind: 'bug', message: 'something was thrown that is no error' };
  const { code, method } = caught as { readonly code?: unknown; readonly method?: unknown };
  if (typeof code === 'number' && code !== 0) {
    return { kind: 'pkcs11', method: bounded(String(method ?? '')), code, name: bounded(caught.message) };
  }
  return { kind: 'bug', message: bounded(`${caught.name}: ${caught.message}`) };
};

const padding = /[\s\0]+$/;
const text = (padded: string): string => padded.replace(padding, '');
const version = ({ major, minor }: { readonly major: number; readonly minor: number }): string => `${major}.${minor}`;

/** CK_SLOT_ID, decimal: bytes in the order of the machine, which is little on every machine that Node has packages for here. */
const decimal = (slot: Handle): string => BigInt(`0x${Buffer.from(slot).reverse().toString('hex')}`).toString();

const fits = (selector: TokenSelector, slot: Handle, info: TokenInfo): boolean =>
  [
    [selector.label, text(info.label)],
    [selector.serial, text(info.serialNumber)],
    [selector.manufacturer, text(info.manufacturerID)],
    [selector.model, text(info.model)],
    [selector.slot, decimal(slot)],
  ].every(([wanted, actual]) => wanted === undefined || wanted === actual);

const initialize = (module: Pkcs11Module): boolean => {
  try {
    module.C_Initialize({ flags: ckf.osLockingOk });
    return true;
  } catch (caught) {
    const { code } = caught as { readonly code?: unknown };
    if (code === ckr.cryptokiAlreadyInitialized) return true;
    if (code !== ckr.cantLock) throw caught;
    module.C_Initialize();
    return false;
  }
};

/** A module says 0 for "no limit" and all ones for "not told". */
const sessionLimit = ({ maxSessionCount }: TokenInfo, wanted: number): number =>
  maxSessionCount === 0 || maxSessionCount >= 0x7fffffff ? wanted : Math.min(wanted, maxSessionCount);

export type Token = {
  /** Never throws. */
  answer(id: number, request: Request): Promise<Outcome>;
  cancel(id: number): void;
};

/** One token of one module, for requests as `protocol.ts` says; one process holds one. */
export const createToken = (load: LoadModule): Token => {
  let opened: Opened | undefined;
  let loggedIn: LoggedIn | undefined;

  const open = async (path: string, selector: TokenSelector): Promise<Outcome> => {
    const module = await load(path);
    const threads = initialize(module);
    const tokens = module.C_GetSlotList(true).map((slot) => ({ slot, info: module.C_GetTokenInfo(slot) }));
    const matching = tokens.filter(({ slot, info }) => fits(selector, slot, info));
    const [only] = matching;
    if (only === undefined || matching.length > 1) {
      const shown = (only === undefined ? tokens : matching).slice(0, 16).map(({ slot, info }) => {
        const [label, serial] = [text(info.label), text(info.serialNumber)];
        return bounded(`${JSON.stringify(label)}, serial ${serial}, slot ${decimal(slot)}`);
      });
      return { problem: { kind: 'token', matches: matching.length, seen: shown } };
    }
    const { slot, info } = only;
    opened = { module, slot, threads };
    const library = module.C_GetInfo();
    const facts: TokenFacts = {
      label: text(info.label),
      serial: text(info.serialNumber),
      manufacturer: text(info.manufacturerID),
      model: text(info.model),
      firmware: version(info.firmwareVersion),
      library: `${text(library.libraryDescription)} ${version(library.libraryVersion)}`.trim(),
      slotFlags: module.C_GetSlotInfo(slot).flags,
      flags: info.flags,
    };
    return { ok: facts };
  };

  const login = (pin: string | undefined, maxSessions: number): Outcome => {
    if (opened === undefined) throw new Error('no token is open');
    const { module, slot, threads } = opened;
    const session = module.C_OpenSession(slot, ckf.serialSession);
    try {
      if (pin !== undefined) module.C_Login(session, cku.user, pin);
    } catch (caught) {
      if ((caught as { readonly code?: unknown }).code !== ckr.userAlreadyLoggedIn) throw caught;
    }
    // The session of the login stays open: when the last one is closed, the token logs out.
    const most = sessionLimit(module.C_GetTokenInfo(slot), maxSessions);
    const shared = most <= 1 ? session : undefined;
    const sessions = createSessions(module, slot, { most: Math.max(1, most - 1), shared, threads });
    loggedIn = { ...opened, session, sessions, keys: [] };
    return { ok: { sessions: most } };
  };

  const find = (selector: Extract<Request, { op: 'find' }>['key']): Outcome => {
    if (loggedIn === undefined) throw new Error('no token is logged in');
    const found = findKey(loggedIn.module, loggedIn.slot, loggedIn.session, selector);
    if (!('handle' in found)) return { problem: { kind: 'key', matches: found.matches, seen: [...found.seen] } };
    const same = loggedIn.keys.findIndex((handle) => handle.equals(found.handle));
    const key: FoundKey = { ...found.found, key: same === -1 ? loggedIn.keys.push(found.handle) - 1 : same };
    return { ok: key };
  };

  const sign = (id: number, request: Extract<Request, { op: 'sign' }>): Promise<Outcome> => {
    const key = loggedIn?.keys[request.key];
    if (loggedIn === undefined || key === undefined) throw new Error('no such key was found');
    const { sessions } = loggedIn;
    // Room for one byte more: modules refuse the null pointer that an empty buffer is.
    const room = Buffer.alloc(Buffer.byteLength(request.data, 'base64') + 1);
    const data = room.subarray(0, room.write(request.data, 'base64'));
    return new Promise((resolve) => {
      const done = (error: unknown, signature?: Buffer): void =>
        resolve(signature === undefined ? { problem: problemOf(error) } : { ok: signature.toString('base64') });
      sessions.sign(id, { key, mechanism: request.mechanism, data, alone: request.alone, done });
    });
  };

  const perform = (id: number, request: Request): Outcome | Promise<Outcome> => {
    switch (request.op) {
      case 'open':
        return open(request.module, request.token);
      case 'login':
        return login(request.pin, request.maxSessions);
      case 'find':
        return find(request.key);
      case 'sign':
        return sign(id, request);
    }
  };

  return {
    answer: async (id, request) => {
      try {
        return await perform(id, request);
      } catch (caught) {
        return { problem: caught instanceof ModuleProblem ? caught.problem : problemOf(caught) };
      }
    },
    cancel: (id) => loggedIn?.sessions.cancel(id),
  };
};

/** What `LoadModule` throws when there is no module to speak to. */
export class ModuleProblem extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.kind);
    this.problem = problem;
  }
}
