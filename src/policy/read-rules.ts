import type { z } from 'zod';
import type { Mistake, Path } from './mistake.ts';
import { pathText } from './mistake.ts';
import { callerFields, fixes, type Rule, ruleFields } from './schema.ts';
import { suggestion } from './suggest.ts';
import { parseYaml, type SourceFile } from './yaml.ts';

/** Takes one mistake: where, what, and how to mend it. */
export type Report = (path: Path, problem: string, fix: string) => void;

/** A rule as far as it could be read, so that every mistake in it can be found at once. Paths start at the rule. */
export type DraftRule = {
  readonly fields: Partial<Omit<Rule, 'caller'>> & { readonly caller?: Partial<Rule['caller']> };
  readonly report: Report;
};

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const problemOf = (issue: z.core.$ZodIssue, value: unknown): { problem: string; fix?: string } => {
  if (value === undefined) return { problem: 'is missing' };
  if (issue.code === 'invalid_value') {
    return {
      problem: `unknown value ${JSON.stringify(value)}`,
      fix: suggestion(String(value), issue.values.map(String)),
    };
  }
  if (issue.code === 'invalid_type')
    return { problem: `must be ${issue.expected === 'record' ? 'a map' : `of type ${issue.expected}`}` };
  return { problem: issue.message };
};

const at = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>((inner, part) => {
    if (Array.isArray(inner)) return inner[Number(part)];
    return isRecord(inner) && Object.hasOwn(inner, part) ? inner[part] : undefined;
  }, value);

/** Reads each field by itself: those that hold are answered, the others and the unknown ones reported. */
const readFields = (
  raw: unknown,
  shape: Readonly<Record<string, z.ZodType>>,
  path: Path,
  report: Report,
): Record<string, unknown> => {
  const where = String(path.at(-1) ?? 'rules');
  if (!isRecord(raw)) {
    report(path, raw === undefined ? 'is missing' : 'must be a map', fixes[where] ?? 'write a map of fields');
    return {};
  }
  for (const name of Object.keys(raw)) {
    if (!Object.hasOwn(shape, name))
      report([...path, name], `unknown field "${name}"`, suggestion(name, Object.keys(shape)));
  }
  const fields: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(shape)) {
    const value = Object.hasOwn(raw, name) ? raw[name] : undefined;
    const parsed = schema.safeParse(value);
    if (parsed.success) {
      if (parsed.data !== undefined) fields[name] = parsed.data;
      continue;
    }
    for (const issue of parsed.error.issues) {
      const inside = issue.path.filter((part) => typeof part !== 'symbol');
      const { problem, fix } = problemOf(issue, at(value, inside));
      report([...path, name, ...inside], problem, fix ?? fixes[name] ?? 'mend the value');
    }
  }
  return fields;
};

const { caller: _, ...plainFields } = ruleFields;

/** Reads the rules of one policy file; whatever is wrong goes to `mistakes`. */
export const readRules = (file: SourceFile, mistakes: Mistake[]): readonly DraftRule[] => {
  const yaml = parseYaml(file, 'text');
  mistakes.push(...yaml.mistakes);
  if (yaml.mistakes.length > 0) return [];
  const report: Report = (path, problem, fix) =>
    mistakes.push({ file: file.path, line: yaml.line(path), path: pathText(path), problem, fix });

  if (!isRecord(yaml.value)) {
    report([], 'the file is not a map', 'write a list of rules under "rules:"');
    return [];
  }
  for (const name of Object.keys(yaml.value)) {
    if (name !== 'rules') report([name], `unknown field "${name}"`, suggestion(name, ['rules']));
  }
  const { rules } = yaml.value;
  if (!Array.isArray(rules) || rules.length > 5000) {
    report(['rules'], rules === undefined ? 'is missing' : 'must be a list of at most 5000 rules', fixes.rules ?? '');
    return [];
  }
  return rules.map((raw: unknown, index) => {
    const path: Path = ['rules', index];
    const withoutCaller = isRecord(raw)
      ? Object.fromEntries(Object.entries(raw).filter(([name]) => name !== 'caller'))
      : raw;
    const fields = readFields(withoutCaller, plainFields, path, report);
    const caller = isRecord(raw) ? readFields(raw.caller, callerFields, [...path, 'caller'], report) : {};
    return {
      fields: { ...fields, caller } as DraftRule['fields'],
      report: (inside, problem, fix) => report([...path, ...inside], problem, fix),
    };
  });
};
