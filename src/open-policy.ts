import { knownBy } from './config/known.ts';
import type { Config } from './config/schema.ts';
import type { Decision, Question } from './model/decision.ts';
import { decide } from './policy/decide.ts';
import { loadPolicy, type Policy } from './policy/load.ts';
import { readPolicyFiles } from './policy/read-files.ts';
import type { Logger } from './telemetry/log.ts';

/** The policy in force, which a reload may replace as a whole; a request sees one policy from its start to its end. */
export type OpenPolicy = {
  decide(question: Question): Decision;
  /** `sha256:<hex>` of the policy in force. */
  hash(): string;
  /** The patterns of repositories that the policy in force lets callers use. */
  repositories(): readonly string[];
  /** Reads the files again. With a mistake the old policy stays in force and the mistake is logged. */
  reload(logger: Logger): Promise<void>;
};

/** Loads the policy that the configuration names. Throws `invalid_argument`, reason `POLICY_INVALID`, with every mistake. */
export const openPolicy = async (config: Config): Promise<OpenPolicy> => {
  let policy = await readPolicy(config);
  return {
    decide: (question) => decide(policy, question),
    hash: () => policy.hash,
    repositories: () => policy.repositories,
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
export const readPolicy = async (config: Config): Promise<Policy> =>
  loadPolicy(await readPolicyFiles(config.policy.files), knownBy(config));
