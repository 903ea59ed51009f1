// Every fault before an Azure Key Vault of ours.
import { createPublicKey } from 'node:crypto';
import { after } from 'node:test';
import { openKeyring } from '../../src/keys/keyring.ts';
import { createHttpClient } from '../../src/net/http.ts';
import type { HttpClient } from '../../src/net/port.ts';
import { makeCertificates } from '../certificates.ts';
import { keyContract } from '../contract/keys/contract.ts';
import { azureFaults, azureLegOf } from '../contract/keys/fault-azure.ts';
import { startHttpProxy } from '../contract/keys/fault-proxy.ts';
import { azureKey, written } from './azure-world.ts';
import { clientSecret, startFakeAzure } from './fake-azure.ts';

const azure = await startFakeAzure();
after(() => azure.close());
const { privateKey } = azure.addVersion('release');
const { ca, server } = makeCertificates();
const caFile = written(ca);

/** One for all: each connection reads 120 root certificates, which takes longer than all the rest of a test. */
const http = createHttpClient({ plainHttpHosts: [], ca: [ca] });
after(() => http.close());
const createHttp = (): HttpClient => ({ request: http.request, close: async () => undefined });

/** The vault and the issuer of tokens alike are behind the proxy, under its name. */
const startProxy = async () => {
  const proxy = await startHttpProxy({
    target: azure.origin,
    ca: azure.ca,
    tls: server,
    legOf: azureLegOf,
    headers: (host) => ({ 'x-test-host': host }),
  });
  const { origin } = proxy;
  const settings = azureKey(azure, { vaultUrl: origin, authorityHost: origin, caFile });
  return { proxy, openRing: () => openKeyring([settings], { createHttp }) };
};

keyContract({
  label: 'fake Azure Key Vault through the proxy',
  backend: 'azure',
  algorithm: 'ecdsa-p256-sha256',
  open: async () => {
    const { proxy, openRing } = await startProxy();
    const ring = openRing();
    const close = async (): Promise<void> => {
      await ring.close();
      await proxy.close();
    };
    return { ...ring, close };
  },
});

azureFaults('fake Azure Key Vault', {
  startProxy,
  publicKey: createPublicKey(privateKey),
  // What it was asked for a token with, and all tokens that were issued begin so.
  secrets: [clientSecret, 'Bearer token-'],
});
