import { generateKeyPairSync } from 'node:crypto';
import { verifyImage } from '../cli/calls.ts';
import { pushImage } from './image.ts';
import { repository, type Scene } from './scene.ts';
import { borrowBundle, forgeBundle, forgePayload } from './tamper.ts';

type Verdict = Awaited<ReturnType<typeof verifyImage>>;

/** Verify says yes, with who, which key, which rule and when; and no, each time for the right reason. */
export const tellVerifying = async (scene: Scene): Promise<void> => {
  await tellYes(scene);
  await tellUnsigned(scene);
  await tellTampered(scene);
  await tellWrongKey(scene);
};

const tellYes = async ({ world, tell, reference, as }: Scene): Promise<void> => {
  tell.step('Verify: is the image signed? And where does it come from?');
  const client = as('main-branch');
  const signed = await verifyImage(client, { image: reference, keys: [world.key] });
  const attested = await verifyImage(client, {
    image: reference,
    keys: [world.key],
    predicateType: 'slsaprovenance1',
  });
  const counting = signed.signatures.filter((signature) => signature.counts);
  const [first] = counting;
  tell.check('yes, it is signed', signed.verified);
  tell.check('by two signatures, one in each format', new Set(counting.map(({ format }) => format)).size === 2);
  tell.check('yes, its provenance is attested', attested.verified && provenanceNames(attested, reference));
  const by = first?.signedBy;
  tell.check('the verdict says who, which key, which rule and when', isWhole(first));
  tell.facts([
    ['who', `${by?.subject} (${by?.issuer})`],
    ['key', `${first?.key}, ${first?.keyHint}`],
    ['rule', `${by?.rule} (policy ${by?.policyHash})`],
    ['when', by?.time ?? ''],
    ['audit', by?.auditId ?? ''],
  ]);
};

const isWhole = (signature: Verdict['signatures'][number] | undefined): boolean =>
  signature?.signedBy?.subject === 'repo:acme/app:ref:refs/tags/v1.0.0' &&
  signature.key === 'release' &&
  signature.signedBy.rule === 'release-images' &&
  Math.abs(Date.now() - Date.parse(signature.signedBy.time)) < 60_000;

/** Is there a statement among what counts that names the repository as its builder saw it? */
const provenanceNames = (response: Verdict, reference: string): boolean =>
  response.signatures.some(({ counts, statement }) => {
    if (!counts) return false;
    const text = Buffer.from(statement).toString();
    return text.includes('"buildDefinition"') && text.includes(reference.slice(0, reference.lastIndexOf(':')));
  });

const tellUnsigned = async ({ world, tell, name, as }: Scene): Promise<void> => {
  tell.step('Verify an image that nobody signed');
  await pushImage(world.registry.host, repository, 'unsigned');
  const verdict = await verifyImage(as('release'), { image: `${name}:unsigned`, keys: [world.key] });
  tell.check('no: nothing was found', !verdict.verified && verdict.signatures.length === 0);
  tell.quote(verdict.summary);
};

const tellTampered = async ({ world, tell, name, image, client, as }: Scene): Promise<void> => {
  tell.step('An attacker puts signatures beside another image: two with their content changed, one as it is');
  const other = await pushImage(world.registry.host, repository, 'tampered');
  await forgeBundle(client, image.digest, other.digest);
  await forgePayload(client, image.digest, other.digest);
  await borrowBundle(client, image.digest, other.digest);
  const verdict = await verifyImage(as('release'), { image: `${name}:tampered`, keys: [world.key] });
  const reasons = verdict.signatures.map(({ reason }) => reason).sort();
  tell.check('no: none of the three counts', !verdict.verified && verdict.signatures.length === 3);
  tell.check(`for the right reasons: ${reasons.join(', ')}`, reasons.join() === 'DIGEST_MISMATCH,TAMPERED,WRONG_KEY');
  for (const signature of verdict.signatures) tell.quote(`${signature.reason}: ${signature.message}`);
};

const tellWrongKey = async ({ tell, reference, as }: Scene): Promise<void> => {
  tell.step('Verify the signed image by the key of a stranger');
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const verdict = await verifyImage(as('release'), { image: reference, pems: [pem] });
  const reasons = new Set(
    verdict.signatures.filter(({ predicateType }) => !predicateType.includes('slsa')).map(({ reason }) => reason),
  );
  tell.check('no: WRONG_KEY', !verdict.verified && [...reasons].join() === 'WRONG_KEY');
  tell.quote(verdict.summary);
};
