import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import type { Path } from '@bufbuild/protobuf/reflect';
import { createValidator, type Violation } from '@bufbuild/protovalidate';
import { CountersignError, type FieldViolation } from '../model/error.ts';

/**
 * Our patterns are few, anchored and without nested repetition, so RegExp is safe and faster than the RE2 that the library
 * brings; each is compiled once.
 */
const compiled = new Map<string, RegExp>();
const regexMatch = (pattern: string, text: string): boolean => {
  let expression = compiled.get(pattern);
  if (expression === undefined) {
    expression = new RegExp(pattern, 'u');
    compiled.set(pattern, expression);
  }
  return expression.test(text);
};

const validator = createValidator({ regexMatch });

/** What each pattern of the contract means, and so how to mend a value. */
const patternMeanings: Readonly<Record<string, string>> = {
  '^[a-z0-9][a-z0-9._-]{0,62}$':
    'must be the name of a key: 1 to 63 of a-z, 0-9, ".", "_" and "-", the first one a letter or a digit',
  '^[\\x21-\\x7e]+$': 'must be printable ASCII without spaces, at least one character',
  '^[\\x21-\\x7e]*$': 'must be printable ASCII without spaces',
  '^[\\x21-\\x7e]([\\x20-\\x7e]*[\\x21-\\x7e])?$': 'must be printable ASCII that neither begins nor ends with a space',
  '^[^\\x00-\\x1f\\x7f]*$': 'must not contain control characters',
  '^sha256:[0-9a-f]{64}$': 'must be "sha256:" and 64 lower-case hexadecimal digits',
};

const byMessage = new Map(
  Object.entries(patternMeanings).map(([pattern, meaning]) => [`does not match regex pattern \`${pattern}\``, meaning]),
);

const describe = ({ field, message, ruleId, forKey }: Violation): string => {
  const last = field.findLast((part) => part.kind === 'field' || part.kind === 'oneof');
  if (last?.kind === 'oneof') return `is required: set one of ${last.fields.map(({ name }) => name).join(', ')}`;
  if (ruleId === 'required') return 'is required';
  if (ruleId === 'repeated.unique') return 'has a value more than once; give each once';
  if (ruleId === 'enum.defined_only' || ruleId === 'enum.not_in') {
    const names = last?.enum?.values.filter(({ number }) => number !== 0).map(({ name }) => name) ?? [];
    return `must be one of ${names.join(', ')}`;
  }
  const said = byMessage.get(message) ?? message.replace('(s)', 's');
  return forKey ? `the key ${said}` : said;
};

/** `keys[1].pem`, `annotations["a\\nb"]`: unlike the library's own, control characters are escaped. */
const pathText = (path: Path): string =>
  path
    .map((part) => {
      if (part.kind === 'list_sub') return `[${part.index}]`;
      if (part.kind === 'map_sub') return `[${JSON.stringify(String(part.key))}]`;
      return `.${part.name}`;
    })
    .join('')
    .replace(/^\./, '');

/**
 * Checks a message against the protovalidate rules of the contract: every bad field once, with its path and how to mend it
 * (`formats[1]`, `annotations["a b"]`). A rule that cannot be evaluated is `internal`: it is our own mistake.
 */
export const violationsOf = <Schema extends DescMessage>(
  schema: Schema,
  message: MessageShape<Schema>,
): FieldViolation[] => {
  const result = validator.validate(schema, message);
  if (result.kind === 'valid') return [];
  if (result.kind === 'error') {
    throw new CountersignError('internal', 'BAD_RULE', 'The request could not be checked.', { cause: result.error });
  }
  const violations = new Map<string, FieldViolation>();
  for (const violation of result.violations) {
    const field = pathText(violation.field);
    const key = `${violation.forKey} ${field}`;
    if (!violations.has(key)) violations.set(key, { field, description: describe(violation) });
  }
  return [...violations.values()];
};
