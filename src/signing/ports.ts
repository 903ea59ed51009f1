import type { AuditSink } from '../audit/port.ts';
import type { SignatureFormat } from '../formats/port.ts';
import type { KeyDescription } from '../keys/port.ts';
import type { KeyHolder } from '../keys/sign-with.ts';
import type { Context } from '../model/context.ts';
import type { Decision, Question } from '../model/decision.ts';
import type { FormatName } from '../model/signature.ts';
import type { Registry } from '../registry/port.ts';
import type { Repeats } from './repeats.ts';

/** Keys by their configured names. Errors as `keys/port.ts`; `not_found`, reason KEY_UNKNOWN, for any other name. */
export type KeysByName = KeyHolder & { describe(name: string, context: Context): Promise<KeyDescription> };

/** What Sign and Attest need of the rooms around them. */
export type SigningPorts = {
  /** The policy in force; pure. */
  readonly decide: (question: Question) => Decision;
  readonly keys: KeysByName;
  readonly formats: Readonly<Record<FormatName, SignatureFormat>>;
  readonly registry: Registry;
  readonly audit: AuditSink;
  readonly now: () => Date;
  readonly repeats: Repeats;
  /** Do signatures carry who asked, which rule allowed it and when? */
  readonly record: 'full' | 'none';
};
