import type { Entry } from './command.ts';

/** Every command of a client, in the order of the help. Each is loaded only when it is the one that runs. */
export const clientEntries: readonly Entry[] = [
  {
    name: 'sign',
    summary: 'sign an image or a blob',
    load: async () => (await import('./sign.ts')).sign,
  },
  {
    name: 'attest',
    summary: 'make a signed attestation about an image or a blob',
    load: async () => (await import('./attest.ts')).attest,
  },
  {
    name: 'verify',
    summary: 'say whether an image or a blob is signed by a trusted key, and why',
    load: async () => (await import('./verify.ts')).verify,
  },
  {
    name: 'keys list',
    summary: 'list the keys that the caller may read',
    load: async () => (await import('./keys.ts')).keysList,
  },
  {
    name: 'keys get',
    summary: 'show one key: public key, algorithm, versions, protection level',
    load: async () => (await import('./keys.ts')).keysGet,
  },
  {
    name: 'copy',
    summary: 'copy an image with everything attached to it to another registry',
    load: async () => (await import('./copy.ts')).copy,
  },
  {
    name: 'save',
    summary: 'write an image with everything attached to it to a folder (OCI layout)',
    load: async () => (await import('./save.ts')).save,
  },
  {
    name: 'load',
    summary: 'push an image with everything attached to it out of a folder (OCI layout)',
    load: async () => (await import('./load.ts')).load,
  },
  {
    name: 'tree',
    summary: 'show an image with everything attached to it',
    load: async () => (await import('./tree.ts')).tree,
  },
  {
    name: 'clean',
    summary: 'remove signatures, attestations and SBOMs of an image; never the image',
    load: async () => (await import('./clean.ts')).clean,
  },
  {
    name: 'download signature',
    summary: 'print the signatures of an image, as cosign does',
    load: async () => (await import('./download.ts')).downloadSignature,
  },
  {
    name: 'download attestation',
    summary: 'print the attestations of an image, as cosign does',
    load: async () => (await import('./download.ts')).downloadAttestation,
  },
  {
    name: 'download sbom',
    summary: 'print the SBOMs that are attached to an image',
    load: async () => (await import('./download.ts')).downloadSbom,
  },
  {
    name: 'policy explain',
    summary: 'say what policy decides for a request, and why, without signing',
    load: async () => (await import('./policy-explain.ts')).policyExplain,
  },
  {
    name: 'policy test',
    summary: 'run the tests that lie beside policy files',
    load: async () => (await import('./policy-test.ts')).policyTest,
  },
  {
    name: 'check-config',
    summary: 'check a configuration file: every mistake at once',
    load: async () => (await import('./check-config.ts')).checkConfig,
  },
  {
    name: 'health',
    summary: 'ask the admin listener whether the service lives: the health check of containers',
    load: async () => (await import('./health.ts')).health,
  },
  {
    name: 'version',
    summary: 'print the version of countersign and of Node.js',
    load: async () => (await import('./version.ts')).version,
  },
];
