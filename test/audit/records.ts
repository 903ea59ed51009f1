import { readFileSync } from 'node:fs';
import type { AuditRecord } from '../../src/audit/port.ts';
import { auditRecord } from '../../src/audit/record.ts';

export const recordOf = (requestId: string): AuditRecord =>
  auditRecord('intended', {
    requestId,
    intent: undefined,
    verb: 'sign',
    caller: { issuer: 'https://issuer.example', subject: 'repo:acme/app:ref:refs/heads/main' },
    claims: { ref: 'refs/heads/main\nforged' },
    rule: 'releases',
    policyHash: `sha256:${'a'.repeat(64)}`,
    key: 'release',
    keyVersion: '3',
    member: undefined,
    subject: 'registry.example/acme/app',
    digest: `sha256:${'b'.repeat(64)}`,
    formats: ['bundle'],
    predicateType: undefined,
    results: [],
    error: undefined,
  });

/** The request ids in a file, in order; every line must be a whole record. */
export const requestIds = (file: string): string[] => parseLines(readFileSync(file, 'utf8'));

export const parseLines = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => (JSON.parse(line) as AuditRecord).requestId);
