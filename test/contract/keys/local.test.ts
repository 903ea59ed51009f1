import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { algorithms } from '../../../src/keys/algorithms.ts';
import { openKeyring } from '../../../src/keys/keyring.ts';
import { keySettings } from '../../../src/keys/settings.ts';
import type { AlgorithmName } from '../../../src/model/algorithm.ts';
import { keyContract } from './contract.ts';
import {
  cosignKeyFile,
  ecParametersFile,
  encryptedPkcs8File,
  pkcs1File,
  pkcs8File,
  privateKeyFor,
  sec1File,
} from './key-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-keys-'));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
const written = (content: string): string => {
  files += 1;
  const file = join(folder, `key-${files}.pem`);
  writeFileSync(file, content, { mode: 0o600 });
  return file;
};

const contract = (label: string, algorithm: AlgorithmName, settings: () => object): void =>
  keyContract({
    label: `local ${label}, ${algorithm}`,
    backend: 'local',
    algorithm,
    open: async () => openKeyring([keySettings.parse({ name: 'subject', kind: 'local', ...settings() })]),
  });

for (const name of Object.keys(algorithms) as AlgorithmName[]) {
  const row = algorithms[name];
  const padding = row.type === 'rsa' ? { rsaPadding: row.padding, rsaHash: row.hash } : {};
  contract('PKCS#8', name, () => ({ file: written(pkcs8File(privateKeyFor(name))), ...padding }));
}

contract('generated', 'ecdsa-p256-sha256', () => ({ generate: 'ecdsa-p256-sha256' }));
contract('generated', 'ed25519', () => ({ generate: 'ed25519' }));
contract('generated', 'rsa-pss-2048-sha256', () => ({ generate: 'rsa-pss-2048-sha256' }));

contract('cosign file', 'ecdsa-p256-sha256', () => ({
  file: written(cosignKeyFile(privateKeyFor('ecdsa-p256-sha256'), 'a password')),
  passwordFile: written('a password\n'),
}));
contract('cosign file, empty password', 'ed25519', () => ({
  file: written(cosignKeyFile(privateKeyFor('ed25519'), '')),
  password: '',
}));
contract('old cosign file', 'rsa-pkcs1v15-2048-sha256', () => ({
  file: written(
    cosignKeyFile(privateKeyFor('rsa-pkcs1v15-2048-sha256'), 'p', {
      label: 'ENCRYPTED COSIGN PRIVATE KEY',
      N: 32_768,
    }),
  ),
  password: 'p',
}));
contract('encrypted PKCS#8', 'ecdsa-p384-sha384', () => ({
  file: written(encryptedPkcs8File(privateKeyFor('ecdsa-p384-sha384'), 'pä ss')),
  password: 'pä ss',
}));
contract('SEC1', 'ecdsa-p521-sha512', () => ({ file: written(sec1File(privateKeyFor('ecdsa-p521-sha512'))) }));
contract('EC PARAMETERS and SEC1', 'ecdsa-p256-sha256', () => ({
  file: written(ecParametersFile(privateKeyFor('ecdsa-p256-sha256'))),
}));
contract('PKCS#1', 'rsa-pkcs1v15-2048-sha256', () => ({
  file: written(pkcs1File(privateKeyFor('rsa-pkcs1v15-2048-sha256'))),
}));
