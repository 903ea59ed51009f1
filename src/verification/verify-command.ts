import { setImmediate } from 'node:timers/promises';
import { otherRsaSchemes } from '../keys/algorithms.ts';
import type { VerifyCommand } from '../model/command.ts';
import { assertLive, type Context } from '../model/context.ts';
import { sha256 } from '../model/digest.ts';
import { invalidArgument } from '../model/error.ts';
import type { KeyVersion } from '../model/signature.ts';
import type { ImageReference } from '../model/subject.ts';
import type { SignatureVerdict, Verdict } from '../model/verdict.ts';
import { predicateType } from '../predicates/predicates.ts';
import { parseReference } from '../registry/reference.ts';
import type { Registry } from '../registry/port.ts';
import {
  attachedCandidate,
  type Candidate,
  providedCandidate,
  type Question,
  type VerificationKey,
  type VerificationSubject,
} from './question.ts';
import { verdictOf, verifyCandidate } from './verify.ts';

/** What Verify needs of the rest of the house. */
export type VerifyPorts = {
  /** Undefined where there is no network: then an image is named by digest and only what the caller brings counts. */
  readonly registry: Pick<Registry, 'resolve' | 'attachments'> | undefined;
  /** Every version of a configured key, old ones too. Throws `not_found` for an unknown name. */
  readonly keyVersions: (name: string, context: Context) => Promise<readonly KeyVersion[]>;
  /** Throws `invalid_argument` for what is not a public key; `field` is its path in the request. */
  readonly parsePublicKey: (pem: string, field: string) => Pick<KeyVersion, 'algorithm' | 'spki' | 'hint'>;
};

/** How many candidates times keys, or bytes, are verified before the event loop and the deadline get their turn. */
const triesAtOnce = 16;
const bytesAtOnce = 1024 * 1024;

/**
 * Verifies. A negative verdict is a result, not an error. The image is resolved once; everything after speaks of its digest.
 *
 * @throws not_found (no such image or key), invalid_argument (bad reference, PEM or predicate type), and what the registry
 * and the keys throw. Safe to call concurrently.
 */
export const verify = async (command: VerifyCommand, ports: VerifyPorts, context: Context): Promise<Verdict> => {
  const expect = expectation(command.expect);
  const [keys, { subject, attached }] = await Promise.all([
    trustedKeys(command.keys, ports, context),
    locate(command, ports, context),
  ]);
  const question: Question = { subject, keys, expect, annotations: command.annotations };
  const candidates = [...attached, ...command.provided.map(providedCandidate)];
  const verdicts: SignatureVerdict[] = [];
  let [tries, bytes] = [0, 0];
  for (const candidate of candidates) {
    if (tries >= triesAtOnce || bytes > bytesAtOnce) {
      await setImmediate();
      assertLive(context);
      [tries, bytes] = [0, 0];
    }
    verdicts.push(verifyCandidate(question, candidate));
    tries += Math.max(1, keys.length);
    bytes += candidate.content.length;
  }
  return verdictOf(question, verdicts);
};

const expectation = (expect: VerifyCommand['expect']): Question['expect'] =>
  expect.kind === 'signature'
    ? expect
    : { kind: 'attestation', predicateType: predicateType(expect.predicateType).uri };

const trustedKeys = async (
  keys: VerifyCommand['keys'],
  ports: VerifyPorts,
  context: Context,
): Promise<readonly VerificationKey[]> => {
  const versions = keys.map(async (key, index) => {
    if (key.kind === 'pem') {
      const parsed = ports.parsePublicKey(key.pem, `keys[${index}].pem`);
      return [{ ...parsed, name: `pem:${parsed.hint}`, otherAlgorithms: otherRsaSchemes(parsed.algorithm) }];
    }
    const all = await ports.keyVersions(key.name, context);
    return all.map(({ algorithm, spki, hint }) => ({ algorithm, spki, hint, name: key.name }));
  });
  return (await Promise.all(versions)).flat();
};

/** The subject's digest, and what lies beside it. */
const locate = async (
  { subject, repository }: VerifyCommand,
  { registry }: VerifyPorts,
  context: Context,
): Promise<{ readonly subject: VerificationSubject; readonly attached: readonly Candidate[] }> => {
  if (subject.kind === 'blob') {
    const { content } = subject;
    return { subject: { kind: 'blob', digest: sha256(content), content }, attached: [] };
  }
  if (subject.kind === 'blob-digest') {
    return { subject: { kind: 'blob', digest: subject.digest, content: undefined }, attached: [] };
  }
  const reference = parseReference(subject.reference, 'subject.image');
  if (registry === undefined) return { subject: { kind: 'image', digest: digestOf(reference) }, attached: [] };
  const image = await registry.resolve(reference, context);
  const attached = await registry.attachments(image, repository, context);
  return { subject: { kind: 'image', digest: image.descriptor.digest }, attached: attached.map(attachedCandidate) };
};

const digestOf = ({ digest }: ImageReference) => {
  if (digest !== undefined) return digest;
  throw invalidArgument([
    { field: 'subject.image', description: 'must name a digest (@sha256:...): there is no registry to resolve a tag' },
  ]);
};
