import { CelScalar, celEnv, isCelError, mapType, parse, plan } from '@bufbuild/cel';
import type { Question } from '../model/decision.ts';
import { sampleClaims } from './sample-claims.ts';
import { suggestion } from './suggest.ts';

/** What an expression sees: `claims` and `request`, as Maps, which inherit nothing. */
export type Bindings = { readonly claims: CelMapping; readonly request: CelMapping };
type CelMapping = ReadonlyMap<string, unknown>;
type Claims = Readonly<Record<string, unknown>>;

export type Expression = {
  readonly source: string;
  /** The top-level claims that it names. */
  readonly claims: readonly string[];
  /** True, false, or why it has neither value for these bindings. Never throws. */
  evaluate(bindings: Bindings): boolean | { readonly problem: string };
};

export type ExpressionMistake = { readonly problem: string; readonly fix: string };

type Expr = ReturnType<typeof parse>['expr'];

const maxLength = 2048;
const requestFields = [
  'verb',
  'key',
  'repository',
  'subject',
  'storageRepository',
  'predicateType',
  'formats',
  'annotations',
];
const functions = ['startsWith', 'endsWith', 'contains', 'size', 'string', 'int', 'double', 'bool'];
/** Functions that CEL writes as operators: `_&&_`, `!_`, `@in`, `_[_]`, `_?_:_` ... */
const isOperator = (name: string): boolean => /^[_!@-]/.test(name);

const env = celEnv({
  variables: { claims: mapType(CelScalar.STRING, CelScalar.DYN), request: mapType(CelScalar.STRING, CelScalar.DYN) },
});

const toCelInput = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(toCelInput);
  if (typeof value !== 'object' || value === null) return value;
  return new Map(Object.entries(value).map(([key, item]) => [key, toCelInput(item)]));
};

const claimsAsMap = (claims: Claims): CelMapping => toCelInput(claims) as CelMapping;

/** `claims` and `request` of a question. What a question does not have is an empty text, so that naming it is no error. */
export const bindingsOf = ({ caller, ...question }: Question): Bindings => ({
  claims: claimsAsMap(caller.claims),
  request: new Map<string, unknown>([
    ['verb', question.verb],
    ['key', question.key ?? ''],
    ['repository', question.subject?.kind === 'repository' ? question.subject.name : ''],
    ['subject', question.subject?.kind === 'blob' ? question.subject.name : ''],
    ['storageRepository', question.storageRepository ?? ''],
    ['predicateType', question.predicateType ?? ''],
    ['formats', question.formats],
    ['annotations', new Map(Object.entries(question.annotations))],
  ]),
});

/** The names that an expression looks up. */
type Names = { readonly claims: Set<string>; readonly annotations: Set<string> };

const isAnnotations = (expr: Expr | undefined): boolean => {
  const kind = expr?.exprKind;
  if (kind?.case !== 'selectExpr' || kind.value.field !== 'annotations') return false;
  const operand = kind.value.operand?.exprKind;
  return operand?.case === 'identExpr' && operand.value.name === 'request';
};

/** Walks the syntax tree: collects names, and answers the first thing that rules must not contain. */
const examine = (expr: Expr | undefined, names: Names): ExpressionMistake | undefined => {
  const first = (parts: readonly (Expr | undefined)[]): ExpressionMistake | undefined => {
    for (const part of parts) {
      const mistake = examine(part, names);
      if (mistake !== undefined) return mistake;
    }
    return undefined;
  };
  const member = (operand: Expr | undefined, name: string): ExpressionMistake | undefined => {
    if (isAnnotations(operand)) names.annotations.add(name);
    if (operand?.exprKind.case !== 'identExpr') return examine(operand, names);
    if (operand.exprKind.value.name === 'claims') names.claims.add(name);
    if (operand.exprKind.value.name === 'request' && !requestFields.includes(name)) {
      return { problem: `unknown field "request.${name}"`, fix: suggestion(name, requestFields) };
    }
    return examine(operand, names);
  };

  const kind = expr?.exprKind;
  switch (kind?.case) {
    case 'identExpr':
      if (kind.value.name === 'claims' || kind.value.name === 'request') return undefined;
      return { problem: `unknown name "${kind.value.name}"`, fix: suggestion(kind.value.name, ['claims', 'request']) };
    case 'selectExpr':
      return member(kind.value.operand, kind.value.field);
    case 'callExpr': {
      const { function: name, target, args } = kind.value;
      if (name === 'matches') {
        return {
          problem: 'regular expressions are not anchored',
          fix: 'use a glob under caller.claims, or ==, startsWith, endsWith',
        };
      }
      if (!isOperator(name) && !functions.includes(name)) {
        return { problem: `unknown function "${name}"`, fix: suggestion(name, functions) };
      }
      const index = name === '_[_]' ? args[1]?.exprKind : undefined;
      if (index?.case === 'constExpr' && index.value.constantKind.case === 'stringValue') {
        return member(args[0], index.value.constantKind.value);
      }
      return first([target, ...args]);
    }
    case 'listExpr':
      return first(kind.value.elements);
    case 'comprehensionExpr':
      return {
        problem: 'all, exists, exists_one, map and filter are not allowed: they have no bound on their time',
        fix: 'write "x" in claims.list, or several rules',
      };
    case 'structExpr':
      return { problem: 'messages and maps are not allowed', fix: 'compare single values' };
    default:
      return undefined;
  }
};

/** Stand-ins for claims that no sample has, whose type is therefore unknown. */
const standIns: readonly unknown[] = ['text', 1, true, ['text'], new Map([['text', 'text']])];

const sampleRequest = (annotations: ReadonlySet<string>): Bindings['request'] =>
  new Map<string, unknown>([
    ...requestFields.map((field): [string, unknown] => [field, 'text']),
    ['verb', 'sign'],
    ['formats', ['bundle']],
    ['annotations', new Map([...annotations].map((name) => [name, 'text']))],
  ]);

/**
 * Evaluates against a sample of each caller kind, or of the rule's issuer when that is a well-known one; answers why it can never
 * be true or false, if so. Only when no sample has all the claims do stand-ins take the place of those that are missing.
 */
const tryOut = (evaluate: Expression['evaluate'], names: Names, issuer: string | undefined): string | undefined => {
  const request = sampleRequest(names.annotations);
  const missingFrom = (sample: Claims): readonly string[] =>
    [...names.claims].filter((claim) => !Object.hasOwn(sample, claim));
  const attempt = (sample: Claims, standIn: unknown): string | undefined => {
    const missing = missingFrom(sample);
    const claims = new Map([...claimsAsMap(sample), ...missing.map((claim): [string, unknown] => [claim, standIn])]);
    const result = evaluate({ claims, request });
    if (typeof result === 'boolean') return undefined;
    // What an unknown claim holds inside cannot be known.
    return missing.length > 0 && result.problem.startsWith('field not found') ? undefined : result.problem;
  };

  const own = sampleClaims.filter((sample) => sample.iss === issuer);
  const pool = own.length > 0 ? own : sampleClaims;
  const complete = pool.filter((sample) => missingFrom(sample).length === 0);
  const problems =
    complete.length > 0
      ? complete.map((sample) => attempt(sample, undefined))
      : pool.flatMap((sample) => standIns.map((standIn) => attempt(sample, standIn)));
  return problems.includes(undefined) ? undefined : problems[0];
};

/**
 * Parses and plans a CEL expression (cel-spec, langdef.md) that must be true or false: no loops, no regular expressions, no
 * clock; at most 2,048 characters. `issuer`: whose tokens it will see. Answers what is wrong with it instead, if anything.
 */
export const compileExpression = (
  source: string,
  issuer?: string,
): { readonly expression: Expression } | { readonly mistake: ExpressionMistake } => {
  if (source.length > maxLength) {
    return { mistake: { problem: `the expression is longer than ${maxLength} characters`, fix: 'split the rule' } };
  }
  const names: Names = { claims: new Set(), annotations: new Set() };
  let evaluatePlan: ReturnType<typeof plan>;
  try {
    const parsed = parse(source);
    const mistake = examine(parsed.expr, names);
    if (mistake !== undefined) return { mistake };
    evaluatePlan = plan(env, parsed) as ReturnType<typeof plan>;
  } catch (error) {
    const said = error instanceof Error ? error.message.replace(/^.*<input>:(\d+:\d+):/, 'at $1') : String(error);
    const problem = error instanceof RangeError ? 'nested too deeply' : said;
    return {
      mistake: { problem: `not a CEL expression: ${problem.slice(0, 200)}`, fix: 'see https://cel.dev for the syntax' },
    };
  }
  const evaluate: Expression['evaluate'] = (bindings) => {
    try {
      const result = evaluatePlan({ __proto__: null, ...bindings } as never);
      if (typeof result === 'boolean') return result;
      if (isCelError(result)) return { problem: result.message.slice(0, 200) };
      return { problem: `its value is not true or false but ${typeof result}` };
    } catch {
      return { problem: 'it could not be evaluated' };
    }
  };
  const never = tryOut(evaluate, names, issuer);
  if (never !== undefined) {
    return {
      mistake: {
        problem: `the expression is never true or false: ${never}`,
        fix: 'compare with ==, in, startsWith, <',
      },
    };
  }
  return { expression: { source, claims: [...names.claims], evaluate } };
};
