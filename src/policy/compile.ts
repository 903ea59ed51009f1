import type { Question } from '../model/decision.ts';
import { claimAt, claimConditions, claimMatches, shownValue } from './claim.ts';
import { compileExpression, type Expression } from './expression.ts';
import { compilePattern, type Pattern } from './pattern.ts';
import type { Rule } from './schema.ts';

/** One condition of a rule. `weight` says how far away a rule is that misses it. */
export type Condition = {
  readonly label: string;
  readonly wanted: string;
  readonly weight: number;
  holds(question: Question): boolean;
  had(question: Question): string;
};

/** A rule, ready to decide. */
export type CompiledRule = {
  readonly name: string;
  readonly effect: 'allow' | 'deny';
  /** The issuer first: when it misses, nothing else is looked at. */
  readonly conditions: readonly Condition[];
  readonly when: Expression | undefined;
  /** Paths of the claims that this rule looks at. */
  readonly claims: readonly (readonly string[])[];
};

const anyOf = (patterns: readonly Pattern[], value: string): boolean => patterns.some((pattern) => pattern.test(value));
const shownList = (values: readonly string[]): string => values.join(' or ');

/**
 * Where an allow rule applies: the subject must match, and so must the repository that signatures go to. A deny rule applies
 * when either matches, or storing elsewhere would be a way around it.
 */
const subjectConditions = (rule: Rule): readonly Condition[] => {
  const repositories = rule.repositories?.map(compilePattern);
  const blobs = rule.subjects?.map(compilePattern);
  if (repositories === undefined && blobs === undefined) return [];
  const subjectMatches = ({ subject }: Question): boolean =>
    subject !== undefined && anyOf((subject.kind === 'repository' ? repositories : blobs) ?? [], subject.name);
  const storageMatches = ({ storageRepository }: Question): boolean =>
    storageRepository !== undefined && anyOf(repositories ?? [], storageRepository);
  const had = ({ subject }: Question): string =>
    subject === undefined ? '(none)' : `${subject.kind === 'blob' ? 'blob ' : ''}${shownValue(subject.name)}`;
  const wanted = [
    ...(rule.repositories === undefined ? [] : [`a repository ${shownList(rule.repositories)}`]),
    ...(rule.subjects === undefined ? [] : [`a blob ${shownList(rule.subjects)}`]),
  ].join(', or ');

  if (rule.effect === 'deny') {
    return [
      {
        label: 'subject',
        wanted,
        weight: 1,
        holds: (question) => subjectMatches(question) || storageMatches(question),
        had,
      },
    ];
  }
  return [
    {
      label: 'subject',
      wanted,
      weight: 1,
      holds: (question) => question.subject === undefined || subjectMatches(question),
      had,
    },
    {
      label: 'storageRepository',
      wanted: rule.repositories === undefined ? '(none)' : shownList(rule.repositories),
      weight: 1,
      holds: (question) => question.storageRepository === undefined || storageMatches(question),
      had: (question) => shownValue(question.storageRepository),
    },
  ];
};

/**
 * A signature over a digest is one over whatever has that digest, so also over the payload of an image signature or an
 * attestation; and an attestation about a digest is one about the image that has it. An allow rule must say that it allows this.
 */
const unseenCondition = (rule: Rule): readonly Condition[] => {
  const isUnseen = ({ verb, subject }: Question): boolean =>
    (verb === 'sign' || verb === 'attest') && subject?.unseen === true;
  const told = rule.blobsByDigest !== undefined;
  if (told === (rule.effect === 'allow')) return [];
  return [
    {
      label: 'blobsByDigest',
      wanted: told ? 'a blob of which only the digest is sent' : 'the blob itself',
      weight: 1,
      holds: (question) => isUnseen(question) === told,
      had: (question) => (isUnseen(question) ? 'only its digest' : 'no blob by digest'),
    },
  ];
};

const requestConditions = (rule: Rule): readonly Condition[] => {
  const { keys, formats, predicateTypes, effect } = rule;
  const conditions: Condition[] = [];
  if (keys !== undefined) {
    conditions.push({
      label: 'key',
      wanted: shownList(keys),
      weight: 1,
      holds: ({ key }) => key !== undefined && keys.includes(key),
      had: ({ key }) => shownValue(key),
    });
  }
  conditions.push(...subjectConditions(rule), ...unseenCondition(rule));
  if (predicateTypes !== undefined) {
    const patterns = predicateTypes.map(compilePattern);
    conditions.push({
      label: 'predicateType',
      wanted: shownList(predicateTypes),
      weight: 1,
      holds: ({ predicateType }) => (predicateType === undefined ? effect === 'allow' : anyOf(patterns, predicateType)),
      had: ({ predicateType }) => shownValue(predicateType),
    });
  }
  if (formats !== undefined) {
    const listed = (format: Question['formats'][number]): boolean => formats.includes(format);
    conditions.push({
      label: 'formats',
      wanted: effect === 'allow' ? `only ${shownList(formats)}` : shownList(formats),
      weight: 1,
      holds: (question) => (effect === 'allow' ? question.formats.every(listed) : question.formats.some(listed)),
      had: (question) => question.formats.join(', '),
    });
  }
  return conditions;
};

/** Compiles a checked rule. `resolveType`: predicate type or its short name -> URI. */
export const compileRule = (checked: Rule, resolveType: (type: string) => string): CompiledRule => {
  const rule: Rule =
    checked.predicateTypes === undefined
      ? checked
      : { ...checked, predicateTypes: checked.predicateTypes.map(resolveType) };
  const { issuer, claims } = rule.caller;
  const claimChecks = claimConditions(claims).map(({ path, patterns }) => ({
    path,
    wanted: patterns,
    patterns: patterns.map(compilePattern),
  }));
  const compiled = rule.when === undefined ? undefined : compileExpression(rule.when, issuer);
  if (compiled !== undefined && 'mistake' in compiled) throw new RangeError(compiled.mistake.problem);
  const when = compiled?.expression;
  return {
    name: rule.name,
    effect: rule.effect,
    conditions: [
      {
        label: 'issuer',
        wanted: issuer,
        weight: 100,
        holds: ({ caller }) => caller.issuer === issuer,
        had: ({ caller }) => shownValue(caller.issuer),
      },
      {
        label: 'verb',
        wanted: shownList(rule.verbs),
        weight: 10,
        holds: ({ verb }) => rule.verbs.includes(verb),
        had: ({ verb }) => verb,
      },
      ...claimChecks.map(
        ({ path, wanted, patterns }): Condition => ({
          label: `claims.${path.join('.')}`,
          wanted: shownList(wanted),
          weight: 1,
          holds: ({ caller }) => claimMatches(claimAt(caller.claims, path), patterns),
          had: ({ caller }) => shownValue(claimAt(caller.claims, path)),
        }),
      ),
      ...requestConditions(rule),
    ],
    when,
    claims: [...claimChecks.map(({ path }) => path), ...(when?.claims.map((name) => [name]) ?? [])],
  };
};
