import type { KeyListing, Service } from './api/service.ts';
import { authenticate } from './callers/authenticate.ts';
import type { CallerKind } from './callers/port.ts';
import type { Keyring } from './keys/keyring.ts';
import { parsePublicKeyPem } from './keys/public-key.ts';
import type { Caller } from './model/caller.ts';
import type { VerifyCommand } from './model/command.ts';
import type { Decision, Question } from './model/decision.ts';
import { toCountersignError } from './model/error.ts';
import { policyDenied } from './policy/denied.ts';
import { predicateType } from './predicates/predicates.ts';
import { attest, attestQuestion } from './signing/attest.ts';
import type { SigningPorts } from './signing/ports.ts';
import { signBatch } from './signing/sign-batch.ts';
import { sign, signQuestion } from './signing/sign.ts';
import { questionSubject, targetOf } from './signing/target.ts';
import { verify } from './verification/verify-command.ts';

export type ServiceParts = {
  readonly callers: readonly CallerKind[];
  readonly signing: SigningPorts;
  readonly keyNames: Keyring['names'];
};

/** The calls of the contract over the use cases; policy is asked here for those that only read. */
export const createService = ({ callers, signing, keyNames }: ServiceParts): Service => {
  const { decide, keys, registry } = signing;

  const allow = (question: Question): void => {
    const decision = decide(question);
    if (!decision.allowed) throw policyDenied(question, decision);
  };

  /** May the caller see this key? Only by the verb `read-key`: a rule that lets it sign says nothing about that. */
  const maySee = (caller: Caller, key: string): Decision => decide(readKeyQuestion(caller, key));

  return {
    authenticate: (credentials, context) => authenticate(callers, credentials, context),
    sign: (command, caller, context) => sign(command, caller, context, signing),
    attest: (command, caller, context) => attest(command, caller, context, signing),
    signBatch: (command, caller, context, terms) =>
      signBatch(
        command,
        (work, part) =>
          work.verb === 'sign'
            ? sign(work.command, caller, part, signing)
            : attest(work.command, caller, part, signing),
        terms,
        context,
      ),

    verify: async (command, caller, context) => {
      for (const question of verifyQuestions(command, caller)) allow(question);
      return verify(
        command,
        {
          registry,
          keyVersions: async (name, ctx) => (await keys.describe(name, ctx)).versions,
          parsePublicKey: parsePublicKeyPem,
        },
        context,
      );
    },

    explain: (command, caller) => {
      const target = targetOf(command.subject);
      return decide(
        'predicateType' in command
          ? attestQuestion(command, target, caller, registry)
          : signQuestion(command, target, caller, registry),
      );
    },

    listKeys: async (caller, context) => {
      const visible = keyNames().filter((name) => maySee(caller, name).allowed);
      const listings = visible.sort().map(async (name): Promise<KeyListing> => {
        try {
          return { name, description: await keys.describe(name, context), problem: '' };
        } catch (caught) {
          return { name, description: undefined, problem: toCountersignError(caught).message };
        }
      });
      return Promise.all(listings);
    },

    getKey: async (name, caller, context) => {
      const decision = maySee(caller, name);
      if (!decision.allowed) throw policyDenied(readKeyQuestion(caller, name), decision);
      return keys.describe(name, context);
    },
  };
};

const readKeyQuestion = (caller: Caller, key: string): Question => ({
  caller,
  verb: 'read-key',
  key,
  subject: undefined,
  storageRepository: undefined,
  predicateType: undefined,
  formats: [],
  annotations: {},
});

/** One question a configured key, so that a caller learns nothing about keys that it may not use; one for keys it brings. */
const verifyQuestions = (command: VerifyCommand, caller: Caller): readonly Question[] => {
  const subject = questionSubject(targetOf(command.subject));
  const names = new Set(command.keys.map((key) => (key.kind === 'configured' ? key.name : undefined)));
  return [...names].map((key) => ({
    caller,
    verb: 'verify',
    key,
    subject,
    storageRepository: command.repository,
    predicateType: command.expect.kind === 'attestation' ? predicateType(command.expect.predicateType).uri : undefined,
    formats: [],
    annotations: command.annotations,
  }));
};
