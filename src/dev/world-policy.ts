/** `aud` of the world's tokens. */
export const audience = 'countersign';

/** The configured name of the world's key. */
export const keyName = 'release';

/**
 * The policy of the world: releases of one repository may sign and attest, everything of its owner may verify and read
 * keys, and pull requests may do nothing, whatever else says so.
 */
export const worldPolicy = (issuer: string, registryHost: string): string => `\
rules:
  - name: release-images
    description: Release tags of acme/app sign and attest the images of acme.
    caller:
      issuer: ${issuer}
      claims:
        repository_id: "456789"
        ref: refs/tags/v*
        runner_environment: github-hosted
    verbs: [sign, attest]
    keys: [${keyName}]
    repositories: ["${registryHost}/acme/**"]
    predicateTypes: [slsaprovenance1, spdxjson, cyclonedx, vuln, openvex]

  - name: release-blobs
    description: The same jobs sign files.
    caller:
      issuer: ${issuer}
      claims:
        repository_id: "456789"
        ref: refs/tags/v*
        runner_environment: github-hosted
    verbs: [sign, attest]
    keys: [${keyName}]
    subjects: ["**"]

  - name: acme-verifies
    description: Every job of acme verifies, and reads public keys.
    caller:
      issuer: ${issuer}
      claims:
        repository_owner_id: "123456"
    verbs: [verify, read-key]

  - name: no-pull-requests
    effect: deny
    caller:
      issuer: ${issuer}
      claims:
        event_name: pull_request*
    verbs: [sign, attest]
`;
