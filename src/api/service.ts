import type { Credentials } from '../callers/port.ts';
import type { KeyDescription } from '../keys/port.ts';
import type { Caller } from '../model/caller.ts';
import type { AttestCommand, SignCommand, VerifyCommand } from '../model/command.ts';
import type { Context } from '../model/context.ts';
import type { Decision } from '../model/decision.ts';
import type { SignResult } from '../model/result.ts';
import type { Verdict } from '../model/verdict.ts';
import type { BatchCommand, BatchOutcome, BatchTerms } from '../signing/sign-batch.ts';

/** A configured key as ListKeys shows it: open, or why it could not be opened. */
export type KeyListing = {
  readonly name: string;
  readonly description: KeyDescription | undefined;
  readonly problem: string;
};

/**
 * What both edges call, once a request has become data. Every function throws CountersignError only. All of them check
 * policy themselves (the edge authenticates, it does not authorize); safe to call concurrently.
 */
export type Service = {
  authenticate(credentials: Credentials, context: Context): Promise<Caller>;
  sign(command: SignCommand, caller: Caller, context: Context): Promise<SignResult>;
  attest(command: AttestCommand, caller: Caller, context: Context): Promise<SignResult>;
  /** How each item ended, in the order in which they end; as `signBatch` of `signing/`. */
  signBatch(
    command: BatchCommand,
    caller: Caller,
    context: Context,
    terms: BatchTerms,
  ): AsyncGenerator<BatchOutcome, void, undefined>;
  verify(command: VerifyCommand, caller: Caller, context: Context): Promise<Verdict>;
  /** The decision for a Sign (no predicate type) or an Attest, without signing. */
  explain(
    command: SignCommand | (Omit<AttestCommand, 'predicate'> & { readonly predicateType: string }),
    caller: Caller,
  ): Decision;
  listKeys(caller: Caller, context: Context): Promise<readonly KeyListing[]>;
  getKey(name: string, caller: Caller, context: Context): Promise<KeyDescription>;
};
