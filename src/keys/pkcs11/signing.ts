import { ckf, ckgMgf1, ckm, ckr } from './constants.ts';
import type { Handle, Pkcs11Module } from './module.ts';
import type { MechanismName } from './protocol.ts';

/** `pkcs11js` tells parameters apart by this number. */
const rsaPssParams = 5;

const mechanismNumbers: Readonly<Record<MechanismName, number>> = {
  ecdsa: ckm.ecdsa,
  eddsa: ckm.eddsa,
  'rsa-pkcs1v15': ckm.rsaPkcs,
  'rsa-pss': ckm.rsaPkcsPss,
};

/** What CKM_* each mechanism of ours is. */
export const mechanismNumber = (name: MechanismName): number => mechanismNumbers[name];

/** The hash that a digest of this length comes from. */
const hashByBytes: ReadonlyMap<number, 'sha256' | 'sha384' | 'sha512'> = new Map([
  [32, 'sha256'],
  [48, 'sha384'],
  [64, 'sha512'],
]);

/** PSS is told the hash of the digest, MGF1 with the same, and a salt of its length. */
const mechanismFor = (name: MechanismName, data: Buffer): { mechanism: number; parameter?: object } => {
  const hash = name === 'rsa-pss' ? hashByBytes.get(data.length) : undefined;
  if (hash === undefined) return { mechanism: mechanismNumbers[name] };
  const parameter = { type: rsaPssParams, hashAlg: ckm[hash], mgf: ckgMgf1[hash], saltLen: data.length };
  return { mechanism: mechanismNumbers[name], parameter };
};

export type Job = {
  readonly key: Handle;
  readonly mechanism: MechanismName;
  readonly data: Buffer;
  /** Nothing else was asked for when this was: a thread would only take longer. */
  readonly alone: boolean;
  readonly done: (error: unknown, signature?: Buffer) => void;
};

export type Sessions = {
  /** Signs as soon as a session is free; one operation a session at a time. */
  sign(id: number, job: Job): void;
  /** Takes back a job that has not begun. */
  cancel(id: number): void;
};

/** RSA of 4096 bits takes 512 bytes. */
const signatureBytes = 1024;
/**
 * A token that took this long so many times in a row is waited for on other threads, so that its sessions work at the same
 * time. On a busy machine a fast one is slow now and then, too.
 */
const slowMs = 0.5;
const slowTimes = 32;

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? (error as { readonly code: unknown }).code : undefined;

/**
 * A pool of logged-in sessions for signing, opened when they are needed, at most `most`; jobs beyond wait in order. A token
 * that answers in microseconds is called in place, which is faster than any thread; a slower one on the thread pool, unless
 * the job is alone.
 * `shared`: the one session there may be, when there may be no others.
 */
export const createSessions = (
  module: Pkcs11Module,
  slot: Handle,
  limits: { readonly most: number; readonly shared: Handle | undefined; readonly threads: boolean },
): Sessions => {
  const idle: Handle[] = limits.shared === undefined ? [] : [limits.shared];
  const threads = limits.threads && limits.shared === undefined;
  const waiting = new Map<number, Job>();
  let most = limits.most;
  let opened = idle.length;
  let slow = 0;

  /** Undefined when all sessions are busy. */
  const takeSession = (): Handle | undefined => {
    const session = idle.pop();
    if (session !== undefined || opened >= most) return session;
    try {
      const fresh = module.C_OpenSession(slot, ckf.serialSession);
      opened += 1;
      return fresh;
    } catch (caught) {
      if (codeOf(caught) !== ckr.sessionCount || opened === 0) throw caught;
      most = opened;
      return undefined;
    }
  };

  /** After an error a session may be in any state, so it is not used again. */
  const discard = (session: Handle): void => {
    if (session === limits.shared) {
      idle.push(session);
      return;
    }
    opened -= 1;
    try {
      module.C_CloseSession(session);
    } catch {
      // The session is gone already.
    }
  };

  const finish = (session: Handle, job: Job, error: unknown, signature: Buffer | null): void => {
    if (error === null && signature !== null) {
      idle.push(session);
      job.done(undefined, signature);
    } else {
      discard(session);
      job.done(error);
    }
  };

  const run = (session: Handle, job: Job): void => {
    const room = Buffer.alloc(signatureBytes);
    try {
      const began = performance.now();
      module.C_SignInit(session, mechanismFor(job.mechanism, job.data), job.key);
      if (threads && slow >= slowTimes && !job.alone) {
        module.C_Sign(session, job.data, room, (error, signature) => {
          finish(session, job, error, signature);
          pump();
        });
        return;
      }
      const signature = module.C_Sign(session, job.data, room);
      slow = performance.now() - began > slowMs ? slow + 1 : 0;
      finish(session, job, null, signature);
    } catch (caught) {
      finish(session, job, caught ?? new Error('unknown'), null);
    }
  };

  const pump = (): void => {
    for (const [id, job] of waiting) {
      let session: Handle | undefined;
      try {
        session = takeSession();
      } catch (caught) {
        waiting.delete(id);
        job.done(caught);
        continue;
      }
      if (session === undefined) return;
      waiting.delete(id);
      run(session, job);
    }
  };

  return {
    sign: (id, job) => {
      waiting.set(id, job);
      pump();
    },
    cancel: (id) => {
      waiting.delete(id);
    },
  };
};
