import { hash } from 'node:crypto';
import type { Caller } from '../model/caller.ts';
import type { AttestCommand } from '../model/command.ts';
import type { Context } from '../model/context.ts';
import type { Question } from '../model/decision.ts';
import type { Digest } from '../model/digest.ts';
import type { SignResult } from '../model/result.ts';
import type { Signable } from '../model/signature.ts';
import type { Registry } from '../registry/port.ts';
import { assertNotManifest } from '../formats/blob-content.ts';
import { buildStatement } from '../formats/statement.ts';
import { checkPredicate, predicateType } from '../predicates/predicates.ts';
import type { SigningPorts } from './ports.ts';
import { signAndStore } from './sign-and-store.ts';
import { signBelow } from './sign-recursively.ts';
import { formatsFor, questionSubject, storageRepository, type Target, targetOf } from './target.ts';

/** What policy is asked for an Attest; the short name of a predicate type is its URI here. */
export const attestQuestion = (
  command: Omit<AttestCommand, 'predicate'>,
  target: Target,
  caller: Caller,
  registry: Pick<Registry, 'layouts'>,
): Question => ({
  caller,
  verb: 'attest',
  key: command.key,
  subject: questionSubject(target),
  storageRepository: storageRepository(command.storage),
  predicateType: predicateType(command.predicateType).uri,
  formats: formatsFor(command, 'attest', target, registry),
  annotations: command.annotations,
});

/**
 * Makes an in-toto statement of a predicate about an image or a blob, signs it in every format asked for and stores the
 * results; with `recursive` about every manifest below an index too. Errors: as `SigningService.Attest` in the proto says. Safe to call concurrently.
 */
export const attest = async (
  command: AttestCommand,
  caller: Caller,
  context: Context,
  ports: SigningPorts,
): Promise<SignResult> => {
  const target = targetOf(command.subject);
  const question = attestQuestion(command, target, caller, ports.registry);
  let checked: ReturnType<typeof checkPredicate> | undefined;
  const attestOne = (one: Target): Promise<SignResult> =>
    signAndStore({
      question,
      key: command.key,
      target: one,
      storage: command.storage,
      ifAbsent: command.ifAbsent,
      body: context.idChosen === true || command.ifAbsent ? hash('sha256', command.predicate) : '',
      prepare: () => {
        if (one.kind === 'blob' && one.content !== undefined) assertNotManifest(one.content);
        // Once for all below an index: it may be large, and one that has the time in it has the same everywhere.
        checked ??= checkPredicate(command.predicateType, command.predicate, ports.now());
        const { uri, predicate } = checked;
        const statement = (digest: Digest, annotations: Readonly<Record<string, string>>): Signable => ({
          kind: 'statement',
          predicateType: uri,
          digest,
          statement: buildStatement({
            // What cosign writes for attestations; its readers take either version.
            version: 'v0.1',
            predicateType: uri,
            predicate,
            subjects: [{ name: one.name, digest, annotations }],
          }),
        });
        return { signable: (digest, record) => statement(digest, record()), plain: (digest) => statement(digest, {}) };
      },
      context,
      ports,
    });
  return signBelow(target, command.recursive, attestOne, question, context, ports);
};
