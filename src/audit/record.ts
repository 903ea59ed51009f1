import { uuidv7 } from '../model/uuid.ts';
import type { AuditRecord } from './port.ts';

/** A record of `event` with a fresh id, made at `now`. Its members are named one by one: spreading costs as much as the JSON. */
export const auditRecord = (
  event: AuditRecord['event'],
  fields: Omit<AuditRecord, 'id' | 'time' | 'event'>,
  now: Date = new Date(),
): AuditRecord => ({
  id: uuidv7(now.getTime()),
  time: now.toISOString(),
  event,
  requestId: fields.requestId,
  intent: fields.intent,
  verb: fields.verb,
  caller: fields.caller,
  claims: fields.claims,
  rule: fields.rule,
  policyHash: fields.policyHash,
  key: fields.key,
  keyVersion: fields.keyVersion,
  member: fields.member,
  subject: fields.subject,
  digest: fields.digest,
  formats: fields.formats,
  predicateType: fields.predicateType,
  results: fields.results,
  error: fields.error,
});
