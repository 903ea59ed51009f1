import { knownBy, knownByDraft } from '../config/known.ts';
import { readConfig } from '../config/load.ts';
import { printSchema } from '../config/print-schema.ts';
import type { Config } from '../config/schema.ts';
import { CountersignError } from '../model/error.ts';
import { readTlsFiles } from '../net/tls.ts';
import { loadPolicy } from '../policy/load.ts';
import { readPolicyFiles } from '../policy/read-files.ts';
import { type Command, type Terminal, UsageError } from './command.ts';
import { outputOption } from './connection-options.ts';
import { exitCode } from './exit-codes.ts';
import { table, wantsJson } from './output.ts';

export const checkConfig: Command = {
  name: 'check-config',
  summary: 'check a configuration file: every mistake at once',
  usage: ['FILE [options]', '--print-schema'],
  about: [
    'Reads the file as serve would, with the same environment, and the policy and TLS files that it names. Nothing is connected to. Exits with 6 when there is a mistake.',
  ],
  options: [
    { name: 'print-schema', type: 'flag', help: 'print the JSON Schema of the configuration instead, for editors' },
    outputOption,
  ],
  examples: ['countersign check-config /etc/countersign/config.yaml'],
  run: async (input, terminal) => {
    if (input.flag('print-schema')) {
      terminal.out(`${printSchema()}\n`);
      return exitCode.ok;
    }
    const [path, ...more] = input.positionals;
    if (path === undefined || more.length > 0) throw new UsageError('Name one configuration file.');
    const { config, policy } = await checkAll(path, terminal.env);
    const facts = {
      file: path,
      valid: true,
      issuers: config.callers.oidc.map(({ issuer }) => issuer),
      keys: config.keys.map(({ name }) => name),
      rules: policy.rules.length,
      policyHash: policy.hash,
    };
    terminal.out(
      wantsJson(input)
        ? `${JSON.stringify(facts, undefined, 2)}\n`
        : table([
            ['valid', path],
            ['issuers', facts.issuers.join(', ') || 'none: nobody may call'],
            ['keys', facts.keys.join(', ') || 'none'],
            ['policy', `${facts.rules} ${facts.rules === 1 ? 'rule' : 'rules'}, ${facts.policyHash}`],
          ]),
    );
    return exitCode.ok;
  },
};

/**
 * The configuration and its policy. Throws one error with the mistakes of both and of the TLS files, its code and reason
 * those of the first; the policy is checked against what the configuration does say, whatever its own mistakes.
 */
const checkAll = async (path: string, environment: Terminal['env']) => {
  const { config, problem, draft } = await readConfig(path, environment);
  const { known, policyFiles } =
    config === undefined ? knownByDraft(draft) : { known: knownBy(config), policyFiles: config.policy.files };
  const problems = problem === undefined ? [] : [problem];
  const collect = (caught: unknown): undefined => {
    if (!(caught instanceof CountersignError)) throw caught;
    problems.push(caught);
  };
  const policy = await readPolicyFiles(policyFiles)
    .then((files) => loadPolicy(files, known))
    .catch(collect);
  if (config !== undefined) await checkTls(config).catch(collect);
  if (config === undefined || policy === undefined || problems.length > 0) throw together(problems);
  return { config, policy };
};

const together = (problems: readonly CountersignError[]): CountersignError => {
  const [first, ...more] = problems;
  if (first === undefined) throw new TypeError('nothing is wrong');
  if (more.length === 0) return first;
  return new CountersignError(first.code, first.reason, problems.map(({ message }) => message).join('\n'), {
    violations: problems.flatMap(({ violations }) => violations),
    metadata: Object.assign({}, ...problems.map(({ metadata }) => metadata)),
    cause: first.cause,
  });
};

/** Certificate and key must be there and belong together. */
const checkTls = async ({ listeners }: Config): Promise<void> => {
  for (const listener of [listeners.grpc, listeners.rest]) {
    if (listener?.tls === undefined) continue;
    const { certFile, keyFile, clientCaFile } = listener.tls;
    await readTlsFiles({ certFile, keyFile, ...(clientCaFile === undefined ? {} : { clientCaFile }) });
  }
};
