import { uuidv7 } from '../model/uuid.ts';
import type { AuditRecord } from './port.ts';

/** A record of `event` with a fresh id, made at `now`. */
export const auditRecord = (
  event: AuditRecord['event'],
  fields: Omit<AuditRecord, 'id' | 'time' | 'event'>,
  now: Date = new Date(),
): AuditRecord => ({ id: uuidv7(now.getTime()), time: now.toISOString(), event, ...fields });
