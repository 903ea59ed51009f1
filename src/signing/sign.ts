import type { Caller } from '../model/caller.ts';
import type { SignCommand } from '../model/command.ts';
import type { Context } from '../model/context.ts';
import type { Question } from '../model/decision.ts';
import type { Digest } from '../model/digest.ts';
import type { SignResult } from '../model/result.ts';
import type { Signable } from '../model/signature.ts';
import type { SigningPorts } from './ports.ts';
import type { Registry } from '../registry/port.ts';
import { signAndStore } from './sign-and-store.ts';
import { signBelow } from './sign-recursively.ts';
import { formatsFor, questionSubject, storageRepository, type Target, targetOf } from './target.ts';

/** What policy is asked for a Sign. */
export const signQuestion = (
  command: SignCommand,
  target: Target,
  caller: Caller,
  registry: Pick<Registry, 'layouts'>,
): Question => ({
  caller,
  verb: 'sign',
  key: command.key,
  subject: questionSubject(target),
  storageRepository: storageRepository(command.storage),
  predicateType: undefined,
  formats: formatsFor(command, 'sign', target, registry),
  annotations: command.annotations,
});

/**
 * Signs an image or a blob in every format asked for, with one key version, and stores the results; with `recursive` every
 * manifest below an index too. Errors: as `SigningService.Sign` in the proto says. Safe to call concurrently.
 */
export const sign = async (
  command: SignCommand,
  caller: Caller,
  context: Context,
  ports: SigningPorts,
): Promise<SignResult> => {
  const target = targetOf(command.subject);
  const question = signQuestion(command, target, caller, ports.registry);
  const signOne = (one: Target): Promise<SignResult> =>
    signAndStore({
      question,
      key: command.key,
      target: one,
      storage: command.storage,
      ifAbsent: command.ifAbsent,
      body: '',
      prepare: () => ({
        signable: (digest, record) => signableOf(one, digest, { ...command.annotations, ...record() }),
        plain: (digest) => signableOf(one, digest, command.annotations),
      }),
      context,
      ports,
    });
  return signBelow(target, command.recursive, signOne, question, context, ports);
};

const signableOf = (target: Target, digest: Digest, annotations: Readonly<Record<string, string>>): Signable =>
  target.kind === 'image'
    ? { kind: 'image', repository: target.name, digest, annotations }
    : { kind: 'blob', name: target.name, digest, content: target.content };
