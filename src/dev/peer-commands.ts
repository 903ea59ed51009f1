import type { World } from './world.ts';

/** A command line of somebody else's program, and what it shows. */
export type PeerCommand = { readonly remark: string; readonly command: string };

/** How cosign (3.0 or newer) verifies what the demo made. There is no transparency log in the world, so none is asked. */
export const cosignCommands = (reference: string, publicKey: string): readonly PeerCommand[] => {
  const verify = (verb: string, ...flags: readonly string[]): string =>
    ['cosign', verb, '--key', publicKey, '--insecure-ignore-tlog=true', ...flags, reference].join(' ');
  return [
    { remark: 'the bundle', command: verify('verify') },
    { remark: 'the simple signing', command: verify('verify', '--new-bundle-format=false', '-a', 'commit=714a629') },
    { remark: 'the provenance, as a bundle', command: verify('verify-attestation', '--type', 'slsaprovenance1') },
    {
      remark: 'the provenance, at its .att tag',
      command: verify('verify-attestation', '--new-bundle-format=false', '--type', 'slsaprovenance1'),
    },
  ];
};

/** How grpcurl and curl call the service; `$TOKEN` is the caller's. */
export const callCommands = (world: World, reference: string): readonly PeerCommand[] => {
  const bearer = '-H "authorization: Bearer $TOKEN"';
  const sign = `'{"subject":{"image":"${reference}"},"key":"${world.key}"}'`;
  const verify = `'{"subject":{"image":"${reference}"},"keys":[{"key":"${world.key}"}]}'`;
  const json = '-H "content-type: application/json"';
  return [
    { remark: 'the services, by reflection', command: `grpcurl -plaintext ${world.grpc} list` },
    {
      remark: 'sign, over gRPC',
      command: `grpcurl -plaintext ${bearer} -d ${sign} ${world.grpc} countersign.v1.SigningService/Sign`,
    },
    {
      remark: 'verify, over REST',
      command: `curl -sS ${bearer} ${json} -d ${verify} http://${world.rest}/v1/verify`,
    },
    { remark: 'the keys, over REST', command: `curl -sS ${bearer} http://${world.rest}/v1/keys` },
    { remark: 'metrics', command: `curl -sS http://${world.admin}/metrics` },
  ];
};
