import type { Verb } from '../model/decision.ts';

/** One line of the audit log. Times are RFC 3339, UTC, milliseconds. No token, key or payload ever goes in here. */
export type AuditRecord = {
  /** Unique id of this record: UUID version 7. */
  readonly id: string;
  readonly time: string;
  /** `existing`: nothing was signed, since an equal signature was there or the request was answered before. */
  readonly event: 'intended' | 'completed' | 'failed' | 'denied' | 'existing';
  readonly requestId: string;
  /** The `intended` record that this one ends; undefined for `intended` and `denied`; for `existing` the one of the answer that is given again. */
  readonly intent: string | undefined;
  readonly verb: Verb;
  readonly caller: { readonly issuer: string; readonly subject: string };
  /** The claims that the deciding rule used. */
  readonly claims: Readonly<Record<string, string>>;
  readonly rule: string | undefined;
  readonly policyHash: string;
  readonly key: string | undefined;
  readonly keyVersion: string | undefined;
  /** The member that signs, where the key is a group of keys. */
  readonly member: string | undefined;
  /** `host/path` or blob name */
  readonly subject: string | undefined;
  readonly digest: string | undefined;
  readonly formats: readonly string[];
  readonly predicateType: string | undefined;
  /** SHA-256 of each sealed signature and where it was stored; only on `completed`, `existing` and, for what was stored, `failed`. */
  readonly results: readonly {
    readonly format: string;
    readonly sha256: string;
    readonly stored: string | undefined;
  }[];
  /** `denied`, `failed`: the code and reason of the error. */
  readonly error: { readonly code: string; readonly reason: string; readonly message: string } | undefined;
};

/**
 * How far a record must have come before `write` resolves. `durable`: it survives a power failure (for a file: fsync).
 * `written`: the system has it, so it survives the end of this process.
 */
export type Until = 'durable' | 'written';

/**
 * Where audit records go. `write` resolves when the record has come as far as `until` says (default: `durable`) and
 * rejects with `unavailable`, reason `AUDIT_UNAVAILABLE`, when it cannot; the use case then signs nothing. Concurrent
 * writes are allowed and keep their order; one fsync may cover many.
 */
export interface AuditSink {
  write(record: AuditRecord, until?: Until): Promise<void>;
  /** Can a record be written now? Readiness asks. */
  healthy(): boolean;
  close(): Promise<void>;
}
