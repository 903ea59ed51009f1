import { z } from 'zod';
import { digestSet, jsonObject, structured, text, timestamp, uri } from './structure.ts';

/** A ResourceDescriptor (in-toto attestation v1): at least one of uri, digest and content says which resource. */
const resource = z
  .looseObject({
    name: z.string().optional(),
    uri: z.string().optional(),
    digest: digestSet.optional(),
    content: z.string().optional(),
    downloadLocation: z.string().optional(),
    mediaType: z.string().optional(),
    annotations: jsonObject.optional(),
  })
  .refine(({ uri, digest, content }) => uri !== undefined || digest !== undefined || content !== undefined, {
    error: 'needs at least one of uri, digest and content',
  });

/** SLSA provenance v1 (slsa.dev/spec/v1.0/provenance, "Schema"). */
export const slsaProvenance1 = structured(
  'https://slsa.dev/provenance/v1',
  ['slsaprovenance1'],
  z.looseObject({
    buildDefinition: z.looseObject({
      buildType: uri,
      externalParameters: jsonObject,
      internalParameters: jsonObject.optional(),
      resolvedDependencies: z.array(resource).optional(),
    }),
    runDetails: z.looseObject({
      builder: z.looseObject({
        id: uri,
        version: jsonObject.optional(),
        builderDependencies: z.array(resource).optional(),
      }),
      metadata: z
        .looseObject({
          invocationId: z.string().optional(),
          startedOn: timestamp.optional(),
          finishedOn: timestamp.optional(),
        })
        .optional(),
      byproducts: z.array(resource).optional(),
    }),
  }),
);

/** SLSA provenance v0.2 (slsa.dev/provenance/v0.2, "Schema"); cosign's plain `slsaprovenance`. */
export const slsaProvenance02 = structured(
  'https://slsa.dev/provenance/v0.2',
  ['slsaprovenance', 'slsaprovenance02'],
  z.looseObject({
    builder: z.looseObject({ id: uri }),
    buildType: uri,
    invocation: z
      .looseObject({
        configSource: z
          .looseObject({ uri: z.string().optional(), digest: digestSet.optional(), entryPoint: z.string().optional() })
          .optional(),
      })
      .optional(),
    metadata: z
      .looseObject({
        buildInvocationId: z.string().optional(),
        buildStartedOn: timestamp.nullish(),
        buildFinishedOn: timestamp.nullish(),
        completeness: jsonObject.optional(),
        reproducible: z.boolean().optional(),
      })
      .optional(),
    materials: z.array(z.looseObject({ uri: text.optional(), digest: digestSet.optional() })).nullish(),
  }),
);
