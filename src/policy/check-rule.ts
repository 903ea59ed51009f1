import { type ClaimCondition, claimConditions } from './claim.ts';
import { compileExpression } from './expression.ts';
import type { Known } from './known.ts';
import type { Path } from './mistake.ts';
import { compilePattern, patternProblem } from './pattern.ts';
import type { DraftRule, Report } from './read-rules.ts';
import { repositoryProblem } from './repository-problem.ts';
import { fixes, type Rule } from './schema.ts';
import { bindingProblem, wellKnownStableClaims } from './stable-claims.ts';
import { suggestion } from './suggest.ts';

/** The path of one item of a list; a list of one may have been written as a single text. */
const place = (field: string, list: readonly unknown[], index: number): Path =>
  list.length > 1 ? [field, index] : [field];

/** What a pattern must not be; `ascii` where look-alike letters would let a stranger pass for someone else. */
const checkPatterns = (patterns: readonly string[], path: readonly string[], ascii: boolean, report: Report): void => {
  patterns.forEach((pattern, index) => {
    const where = patterns.length > 1 ? [...path, index] : path;
    const problem = patternProblem(pattern);
    if (problem !== undefined)
      report(where, `the pattern ${problem}`, 'write the whole value; * and ** stand for parts of it');
    else if (ascii && /[^ -~]/.test(pattern)) {
      report(
        where,
        'the pattern holds characters that are not ASCII and may only look like others',
        'compare such values under when: instead',
      );
    }
  });
};

const checkRepositories = (repositories: readonly string[], report: Report): void => {
  checkPatterns(repositories, ['repositories'], true, report);
  repositories.forEach((pattern, index) => {
    if (patternProblem(pattern) !== undefined) return;
    const found = repositoryProblem(pattern);
    if (found !== undefined) report(place('repositories', repositories, index), found.problem, found.fix);
  });
};

const checkIssuer = (issuer: string, known: Known, report: Report): readonly string[] => {
  const path = ['caller', 'issuer'];
  if (known.issuers === 'any') return wellKnownStableClaims;
  const found = known.issuers.find((candidate) => candidate.issuer === issuer);
  if (found !== undefined) return found.stableClaims ?? wellKnownStableClaims;
  if (issuer.includes('*'))
    report(path, 'an issuer is compared exactly, a star does not stand for anything', 'write one rule for each issuer');
  else
    report(
      path,
      `the issuer "${issuer}" is not configured`,
      suggestion(
        issuer,
        known.issuers.map((candidate) => candidate.issuer),
      ),
    );
  return wellKnownStableClaims;
};

/** An allow rule must bind at least one stable claim to one owner, in every alternative that it lists. */
const checkBinding = (
  conditions: readonly ClaimCondition<string>[],
  stable: readonly string[],
  report: Report,
): void => {
  const candidates = conditions.filter(({ path }) => stable.includes(path.join('/')));
  const weak = candidates.map(({ path, patterns }) => ({
    path,
    problem: patterns
      .filter((pattern) => patternProblem(pattern) === undefined)
      .map((pattern) => bindingProblem(path.join('/'), compilePattern(pattern)))
      .find((problem) => problem !== undefined),
  }));
  if (weak.some(({ problem }) => problem === undefined)) return;
  for (const { path, problem } of weak) {
    report(['caller', 'claims', ...path], 'does not bind the rule to one caller', problem ?? '');
  }
  if (weak.length === 0) {
    report(
      ['caller', 'claims'],
      'the rule binds no claim that says for good who the caller is, so strangers could match it',
      `bind one of: ${stable.join(', ')}`,
    );
  }
};

const checkExplicit = (fields: DraftRule['fields'], report: Report): void => {
  const makesSignatures = fields.verbs?.some((verb) => verb === 'sign' || verb === 'attest') ?? false;
  if (!makesSignatures || fields.effect === 'deny') return;
  if (fields.keys === undefined)
    report(['keys'], 'a rule that allows sign or attest must say with which keys', fixes.keys ?? '');
  if (fields.repositories === undefined && fields.subjects === undefined) {
    report(
      ['repositories'],
      'a rule that allows sign or attest must say for which repositories or subjects',
      fixes.repositories ?? '',
    );
  }
};

const checkPredicateTypes = (fields: DraftRule['fields'], known: Known, report: Report): void => {
  const { predicateTypes, verbs } = fields;
  if (predicateTypes === undefined) return;
  if (verbs !== undefined && !verbs.includes('attest') && !verbs.includes('verify')) {
    report(['predicateTypes'], 'only attest and verify have a predicate type', 'remove it, or add the verb attest');
  }
  const types = known.predicateTypes;
  if (types === undefined) return;
  const words = types.flatMap(({ uri, aliases }) => [...aliases, uri]);
  predicateTypes.forEach((type, index) => {
    // A URI that is not built in is a custom type; a word that is neither known nor a pattern is a slip.
    if (!words.includes(type) && !type.includes(':') && !type.includes('*')) {
      report(
        place('predicateTypes', predicateTypes, index),
        `unknown predicate type "${type}"`,
        suggestion(type, words),
      );
    }
  });
};

/** Reports everything that is wrong with what a rule says (its shape has been reported by read-rules.ts). */
export const checkRule = ({ fields, report }: DraftRule, known: Known): void => {
  const { caller, effect, keys, repositories = [], subjects = [], when } = fields;
  const stable = caller?.issuer === undefined ? wellKnownStableClaims : checkIssuer(caller.issuer, known, report);
  if (caller?.claims !== undefined) {
    const conditions = claimConditions(caller.claims);
    for (const { path, patterns } of conditions) checkPatterns(patterns, ['caller', 'claims', ...path], true, report);
    // A deny rule may be as broad as it likes: it can only take away.
    if (effect === 'allow') checkBinding(conditions, stable, report);
  }
  checkRepositories(repositories, report);
  checkPatterns(subjects, ['subjects'], false, report);
  checkPatterns(fields.predicateTypes ?? [], ['predicateTypes'], true, report);
  const { keys: knownKeys } = known;
  if (knownKeys !== 'any') {
    keys?.forEach((key, index) => {
      if (knownKeys.includes(key)) return;
      report(place('keys', keys, index), `the key "${key}" is not configured`, suggestion(key, knownKeys));
    });
  }
  checkExplicit(fields, report);
  checkPredicateTypes(fields, known, report);
  if (when !== undefined) {
    const compiled = compileExpression(when, caller?.issuer);
    if ('mistake' in compiled) report(['when'], compiled.mistake.problem, compiled.mistake.fix);
  }
};

/** Is the draft whole? Only asked when no mistake was reported, so it always is; this tells the compiler. */
export const isWholeRule = (fields: DraftRule['fields']): fields is Rule =>
  fields.name !== undefined &&
  fields.effect !== undefined &&
  fields.verbs !== undefined &&
  fields.caller?.issuer !== undefined &&
  fields.caller.claims !== undefined;
