import { z } from 'zod';
import type { Question } from '../model/decision.ts';
import { decide } from './decide.ts';
import { denialText } from './denied.ts';
import type { Known } from './known.ts';
import { loadPolicy } from './load.ts';
import { type Mistake, pathText, policyInvalid } from './mistake.ts';
import { formatNames, verbs } from './schema.ts';
import { parseYaml, type SourceFile } from './yaml.ts';

const testCase = z.strictObject({
  name: z.string().min(1),
  caller: z.strictObject({ issuer: z.string(), claims: z.record(z.string(), z.unknown()).default({}) }),
  request: z.strictObject({
    verb: z.enum(verbs),
    key: z.string().optional(),
    repository: z.string().optional(),
    subject: z.string().optional(),
    /** Of the blob named by `subject` only the digest is sent. */
    byDigest: z.boolean().default(false),
    storageRepository: z.string().optional(),
    predicateType: z.string().optional(),
    formats: z.array(z.enum(formatNames)).default([]),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
  expect: z.enum(['allow', 'deny']),
  /** The rule that must decide; with `deny` and no deciding rule: the nearest. */
  rule: z.string().optional(),
});
const testFile = z.strictObject({ tests: z.array(testCase).min(1) });
type TestCase = z.output<typeof testCase>;

/** One policy test and how it ended. */
export type PolicyTestResult = {
  readonly file: string;
  readonly line: number;
  readonly name: string;
  readonly passed: boolean;
  /** Why it failed, or why the policy said no. */
  readonly message: string;
};

/** Is this the name of a policy test file? */
export const isTestFile = (path: string): boolean => /\.test\.ya?ml$/.test(path);

const questionOf = ({ caller: { issuer, claims }, request }: TestCase): Question => ({
  caller: {
    kind: 'oidc',
    issuer,
    subject: typeof claims.sub === 'string' ? claims.sub : '',
    claims: Object.assign(Object.create(null), { iss: issuer }, claims),
    expiresAt: Number.MAX_SAFE_INTEGER,
  },
  verb: request.verb,
  key: request.key,
  subject:
    request.repository !== undefined
      ? { kind: 'repository', name: request.repository }
      : request.subject !== undefined
        ? { kind: 'blob', name: request.subject, unseen: request.byDigest }
        : undefined,
  storageRepository: request.storageRepository,
  predicateType: request.predicateType,
  formats: request.formats,
  annotations: request.annotations,
});

type Located = { readonly file: string; readonly line: number; readonly test: TestCase };

const readTests = (file: SourceFile, mistakes: Mistake[]): readonly Located[] => {
  const yaml = parseYaml(file, 'typed');
  mistakes.push(...yaml.mistakes);
  if (yaml.mistakes.length > 0) return [];
  const parsed = testFile.safeParse(yaml.value);
  if (parsed.success) {
    return parsed.data.tests.map((test, index) => ({ file: file.path, line: yaml.line(['tests', index]), test }));
  }
  for (const issue of parsed.error.issues) {
    const path = issue.path.filter((part) => typeof part !== 'symbol');
    mistakes.push({
      file: file.path,
      line: yaml.line(path),
      path: pathText(path),
      problem: issue.message,
      fix: 'mend the test',
    });
  }
  return [];
};

/**
 * Runs policy tests: `files` are policy files and, beside them, test files (`*.test.yaml`); all policy files together are the
 * policy. Throws like `loadPolicy` when a file of either sort has mistakes.
 */
export const runPolicyTests = (
  files: readonly SourceFile[],
  known: Known = { keys: 'any', issuers: 'any' },
): readonly PolicyTestResult[] => {
  const mistakes: Mistake[] = [];
  const tests = files.filter(({ path }) => isTestFile(path)).flatMap((file) => readTests(file, mistakes));
  const policy = loadPolicy(
    files.filter(({ path }) => !isTestFile(path)),
    known,
  );
  if (mistakes.length > 0) throw policyInvalid(mistakes);
  return tests.map(({ file, line, test }) => {
    const question = questionOf(test);
    const decision = decide(policy, question);
    const outcome = decision.allowed ? 'allow' : 'deny';
    const rule = decision.rule ?? decision.nearest?.rule;
    const why = decision.allowed
      ? `Policy rule "${rule}" allows this ${question.verb}.`
      : denialText(decision, question);
    const passed = outcome === test.expect && (test.rule === undefined || test.rule === rule);
    const wanted = test.rule === undefined ? test.expect : `${test.expect} by rule "${test.rule}"`;
    return { file, line, name: test.name, passed, message: passed ? why : `expected ${wanted}. ${why}` };
  });
};
