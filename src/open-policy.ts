import { open } from 'node:fs/promises';
import type { Config } from './config/schema.ts';
import type { Decision, Question } from './model/decision.ts';
import { CountersignError } from './model/error.ts';
import { decide } from './policy/decide.ts';
import { loadPolicy, type Policy } from './policy/load.ts';
import { predicateTypes } from './predicates/predicates.ts';
import type { Logger } from './telemetry/log.ts';

/** The policy in force, which a reload may replace as a whole; a request sees one policy from its start to its end. */
export type OpenPolicy = {
  decide(question: Question): Decision;
  /** `sha256:<hex>` of the policy in force. */
  hash(): string;
  /** Reads the files again. With a mistake the old policy stays in force and the mistake is logged. */
  reload(logger: Logger): Promise<void>;
};

/** One byte more than a policy file may have: enough to see that it is too large. */
const maxReadBytes = 256 * 1024 + 1;

/** Loads the policy that the configuration names. Throws `invalid_argument`, POLICY_INVALID, or `failed_precondition`, POLICY_UNREADABLE. */
export const openPolicy = async (config: Config): Promise<OpenPolicy> => {
  let policy = await readPolicy(config);
  return {
    decide: (question) => decide(policy, question),
    hash: () => policy.hash,
    reload: async (logger) => {
      try {
        const next = await readPolicy(config);
        logger.info({ from: policy.hash, to: next.hash }, 'policy reloaded');
        policy = next;
      } catch (error) {
        logger.error({ err: error, policy: policy.hash }, 'the new policy has mistakes; the old one stays in force');
      }
    },
  };
};

/** Reads and checks the policy files against the keys and issuers of the configuration. */
export const readPolicy = async (config: Config): Promise<Policy> => {
  const files = await Promise.all(config.policy.files.map(async (path) => ({ path, text: await readBounded(path) })));
  return loadPolicy(files, {
    keys: config.keys.map((key) => key.name),
    issuers: config.callers.oidc.map(({ issuer, stableClaims }) => ({ issuer, stableClaims })),
    predicateTypes,
  });
};

const readBounded = async (path: string): Promise<string> => {
  try {
    await using file = await open(path, 'r');
    const buffer = Buffer.alloc(maxReadBytes);
    let length = 0;
    for (let bytesRead = -1; bytesRead !== 0; length += bytesRead) {
      ({ bytesRead } = await file.read(buffer, length, buffer.length - length));
    }
    return buffer.toString('utf8', 0, length);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new CountersignError(
      'failed_precondition',
      'POLICY_UNREADABLE',
      `The policy ${path} cannot be read (${code}).`,
      {
        cause: error,
      },
    );
  }
};
