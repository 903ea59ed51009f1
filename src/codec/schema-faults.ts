import type { z } from 'zod';
import { didYouMean } from './suggest.ts';

/** One thing in data that does not fit a schema, and how to mend it. `message` never quotes a value: it may be secret. */
export type SchemaFault = { readonly path: readonly (string | number)[]; readonly message: string };

export type Checked<T> =
  | { readonly value: T; readonly faults: readonly [] }
  | { readonly value: undefined; readonly faults: readonly SchemaFault[] };

/** Checks data (as YAML or JSON gives it) against a schema; finds every fault at once. */
export const checkSchema = <T extends z.ZodType>(schema: T, data: unknown): Checked<z.output<T>> => {
  const result = schema.safeParse(data, { error: explain });
  if (result.success) return { value: result.data, faults: [] };
  return { value: undefined, faults: result.error.issues.flatMap((issue) => toFaults(issue, [])) };
};

type Issue = z.core.$ZodIssue;

/** Words for the faults for which the schema has none of its own. */
const explain: z.core.$ZodErrorMap = (issue) => {
  const { input } = issue;
  switch (issue.code) {
    case 'invalid_type':
      return input === undefined ? 'is missing' : `must be ${kindName(issue.expected)}, not ${kindOf(input)}`;
    case 'unrecognized_keys':
      // One line a key: `toFaults` takes them apart again.
      return issue.keys.map((key) => `is not a known setting${didYouMean(key, knownKeys(issue.inst))}`).join('\n');
    case 'invalid_value': {
      if (input === undefined) return 'is missing';
      const allowed = issue.values.map(String);
      const suggestion = typeof input === 'string' ? didYouMean(input, allowed) : '';
      return `must be ${allowed.length === 1 ? '' : 'one of '}${allowed.join(', ')}${suggestion}`;
    }
    case 'too_small':
      if (issue.minimum === 1 && unit(issue.origin) !== '') return 'must not be empty';
      return `must ${size(issue.origin)} at least ${issue.minimum}${unit(issue.origin)}`;
    case 'too_big':
      return `must ${size(issue.origin)} at most ${issue.maximum}${unit(issue.origin)}`;
    case 'invalid_union':
      if (input === undefined) return 'is missing';
      if (!Array.isArray(issue.options)) return undefined;
      return `must be one of ${(issue.options as readonly unknown[] | undefined)?.map(String).join(', ')}`;
    default:
      return undefined;
  }
};

const toFaults = (issue: Issue, prefix: SchemaFault['path']): SchemaFault[] => {
  const path = [...prefix, ...issue.path.map((step) => (typeof step === 'number' ? step : String(step)))];
  if (issue.code === 'unrecognized_keys') {
    const messages = issue.message.split('\n');
    return issue.keys.map((key, index) => ({ path: [...path, key], message: messages[index] ?? issue.message }));
  }
  if (issue.code === 'invalid_union' && issue.message === 'Invalid input') {
    const nearest = nearestBranch(issue.errors);
    if (nearest !== undefined) return nearest.flatMap((inner) => toFaults(inner, path));
  }
  if (issue.code === 'invalid_key') {
    return [{ path, message: `this name ${issue.issues.map((inner) => inner.message).join(', ')}` }];
  }
  return [{ path, message: issue.message }];
};

/** Of the forms that a value may take, the one that it fits best: the first that at least allows its type. */
const nearestBranch = (branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined =>
  branches.find(
    (issues) => issues.length > 0 && issues.every(({ path, code }) => path.length > 0 || code === 'unrecognized_keys'),
  ) ?? branches[0];

const knownKeys = (schema: unknown): readonly string[] => {
  const shape = (schema as { _zod?: { def?: { shape?: object } } } | undefined)?._zod?.def?.shape;
  return shape === undefined ? [] : Object.keys(shape);
};

const kindNames: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
  null: 'nothing',
};
const kindName = (name: string): string => kindNames[name] ?? name;

const kindOf = (value: unknown): string => {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return kindName(typeof value);
};

const size = (origin: string): string => (origin === 'string' || origin === 'array' ? 'have' : 'be');
const unit = (origin: string): string => {
  if (origin === 'string') return ' characters';
  return origin === 'array' ? ' entries' : '';
};
