/*
 * npm run test:cloud: the contract that every key backend keeps, against real accounts: AWS, Google Cloud, Azure, or any other
 * backend that nobody can start on a developer's machine.
 *
 *   COUNTERSIGN_CLOUD_KEYS=cloud-keys.yaml npm run test:cloud
 *
 * The file has `keys:` as in a configuration (secrets by ${NAME}), and `expect:` with what each is known to be:
 *
 *   keys:
 *     - { name: aws-p256, kind: aws, arn: "arn:aws:kms:eu-central-1:111122223333:key/..." }
 *   expect:
 *     aws-p256: { algorithm: ecdsa-p256-sha256, protectionLevel: fips-140-3-l3 }
 *
 * Each key signs some forty times.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { readStrictYaml } from '../../src/codec/strict-yaml.ts';
import { expandEnvironment } from '../../src/config/environment.ts';
import { algorithms } from '../../src/keys/algorithms.ts';
import { protectionLevels } from '../../src/keys/common-settings.ts';
import { openKeyring } from '../../src/keys/keyring.ts';
import { keySettings } from '../../src/keys/settings.ts';
import type { AlgorithmName } from '../../src/model/algorithm.ts';
import { keyContract } from '../contract/keys/contract.ts';

const path = process.env['COUNTERSIGN_CLOUD_KEYS'];
if (path === undefined) {
  throw new Error(
    'COUNTERSIGN_CLOUD_KEYS is not set: it names a file of keys in real accounts; see test/cloud/cloud.test.ts.',
  );
}

const expectation = z.strictObject({
  algorithm: z.enum(Object.keys(algorithms) as AlgorithmName[]),
  protectionLevel: z.enum(protectionLevels),
});
const cloudKeys = z.strictObject({
  keys: z.array(keySettings).min(1),
  expect: z.record(z.string(), expectation),
});

const yaml = readStrictYaml(readFileSync(path));
const { keys, expect } = cloudKeys.parse(expandEnvironment(yaml.value, process.env).value);

/** Ed25519 in AWS: 4096 bytes; in Google Cloud 64 KiB, and no empty message. */
const bounds = (kind: string, algorithm: AlgorithmName) => {
  if (algorithm !== 'ed25519') return {};
  return kind === 'gcp' ? { minMessage: 1, maxMessage: 64 * 1024 } : { maxMessage: 4096 };
};

for (const settings of keys) {
  const expected = expect[settings.name];
  if (expected === undefined) throw new Error(`${path}: expect.${settings.name} is missing`);
  keyContract({
    label: `${settings.name} (${settings.kind})`,
    backend: settings.kind,
    ...expected,
    ...bounds(settings.kind, expected.algorithm),
    open: async () => openKeyring([{ ...settings, name: 'subject' }]),
  });
}
