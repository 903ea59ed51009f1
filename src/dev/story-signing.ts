import type { JsonValue } from '@bufbuild/protobuf';
import { attestImage, readSignResponse, signImage } from '../cli/calls.ts';
import { layoutName } from '../cli/signed.ts';
import { tokenOf } from './identities.ts';
import type { Scene } from './scene.ts';
import type { World } from './world.ts';

const provenanceType = 'https://slsa.dev/provenance/v1';

/** SLSA v1 provenance of the demo's image (slsa.dev/spec/v1.0/provenance), as a CI job writes it. */
const provenance = (issuer: string) => ({
  buildDefinition: {
    buildType: 'https://actions.github.io/buildtypes/workflow/v1',
    externalParameters: {
      workflow: {
        ref: 'refs/tags/v1.0.0',
        repository: 'https://github.com/acme/app',
        path: '.github/workflows/release.yml',
      },
    },
    resolvedDependencies: [
      {
        uri: 'git+https://github.com/acme/app@refs/tags/v1.0.0',
        digest: { gitCommit: '714a629c0b401fdce83e847fc9589983fc6f46bc' },
      },
    ],
  },
  runDetails: {
    builder: { id: 'https://github.com/actions/runner/github-hosted' },
    metadata: { invocationId: `${issuer}/acme/app/actions/runs/1001`, startedOn: new Date().toISOString() },
  },
});

/** The release signs over gRPC and over REST, and attests where the image comes from. */
export const tellSigning = async (scene: Scene): Promise<void> => {
  await tellGrpc(scene);
  await tellRest(scene);
  await tellAttestation(scene);
};

const tellGrpc = async ({ world, tell, reference, image, as }: Scene): Promise<void> => {
  tell.step('The release of tag v1.0.0 signs the image, over gRPC, as a bundle and as simple signing');
  const response = await signImage(as('release'), {
    image: reference,
    key: world.key,
    formats: ['bundle', 'simple-signing'],
    annotations: { commit: '714a629' },
  });
  const [bundle, simpleSigning] = response.outputs;
  tell.check(`signed the digest that the tag leads to: ${image.digest}`, response.digest === image.digest);
  tell.check('rule release-images allowed it', response.decision?.rule === 'release-images');
  tell.check('the bundle lies beside the image as a referrer', layoutName(bundle) === 'referrer');
  tell.check('the simple signing lies at a tag that cosign looks at', layoutName(simpleSigning) === 'tag');
  tell.facts([
    ['key', `${response.key?.key} (${response.key?.algorithm}), version ${response.key?.version}`],
    ['policy', response.decision?.policyHash ?? ''],
    ['audit', response.auditId],
  ]);
};

const tellRest = async ({ world, tell, name, image }: Scene): Promise<void> => {
  tell.step('The same caller signs one platform of it, over REST');
  const [platform] = image.platforms;
  const token = await tokenOf(world, 'release');
  if (platform === undefined || token === undefined) throw new Error('the image has no platforms');
  const body = { subject: { image: `${name}@${platform.digest}` }, key: world.key };
  const response = readSignResponse(await postJson(world, token, '/v1/sign', body));
  tell.check(`signed ${platform.platform}: ${platform.digest}`, response.digest === platform.digest);
  tell.check('the bundle lies beside it', layoutName(response.outputs[0]) === 'referrer');
};

const tellAttestation = async ({ world, tell, reference, image, as }: Scene): Promise<void> => {
  tell.step('It attests where the image comes from: SLSA v1 provenance');
  const response = await attestImage(as('release'), {
    image: reference,
    key: world.key,
    formats: ['bundle', 'dsse'],
    predicateType: 'slsaprovenance1',
    predicate: JSON.stringify(provenance(world.issuer)),
  });
  tell.check(`the statement is about ${image.digest}`, response.digest === image.digest);
  tell.check(`its predicate type is ${provenanceType}`, response.predicateType === provenanceType);
  tell.check('both forms are stored', response.outputs.map(layoutName).join() === 'referrer,tag');
};

/** POSTs JSON to the REST listener; throws with its body unless the answer is 200. */
const postJson = async (world: World, token: string, path: string, body: JsonValue): Promise<JsonValue> => {
  const response = await fetch(`http://${world.rest}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`POST ${path} answered ${response.status}: ${text}`);
  return JSON.parse(text) as JsonValue;
};
