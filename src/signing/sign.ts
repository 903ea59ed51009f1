import type { Caller } from '../model/caller.ts';
import type { SignCommand } from '../model/command.ts';
import type { Context } from '../model/context.ts';
import type { Question } from '../model/decision.ts';
import type { SignResult } from '../model/result.ts';
import type { SigningPorts } from './ports.ts';
import { signAndStore } from './sign-and-store.ts';
import { questionSubject, storageRepository, type Target, targetOf } from './target.ts';

/** What policy is asked for a Sign. */
export const signQuestion = (command: SignCommand, target: Target, caller: Caller): Question => ({
  caller,
  verb: 'sign',
  key: command.key,
  subject: questionSubject(target),
  storageRepository: storageRepository(command.storage),
  predicateType: undefined,
  formats: command.formats,
  annotations: command.annotations,
});

/**
 * Signs an image or a blob in every format asked for, with one key version, and stores the results.
 * Errors: as `SigningService.Sign` in the proto says. Safe to call concurrently.
 */
export const sign = async (
  command: SignCommand,
  caller: Caller,
  context: Context,
  ports: SigningPorts,
): Promise<SignResult> => {
  const target = targetOf(command.subject);
  return signAndStore({
    question: signQuestion(command, target, caller),
    key: command.key,
    target,
    storage: command.storage,
    prepare: () => (digest, record) =>
      target.kind === 'image'
        ? { kind: 'image', repository: target.name, digest, annotations: { ...command.annotations, ...record() } }
        : { kind: 'blob', name: target.name, digest, content: target.content },
    context,
    ports,
  });
};
