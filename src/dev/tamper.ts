import { type Digest, digestHex } from '../model/digest.ts';
import type { Descriptor, Manifest, RepositoryClient } from './registry/client.ts';

/*
 * What an attacker with write access to a registry can do: put a signature of one image beside another one, as it is or
 * changed. The embedded registry stores it, as every registry would; verification must not fall for it.
 */

/** Copies the `.sig` layer of `from` to `to`, with the payload changed so that it speaks of `to`. */
export const forgePayload = async (client: RepositoryClient, from: Digest, to: Digest): Promise<void> => {
  const { manifest } = await client.manifest(signatureTag(from));
  const layer = manifest.layers?.[0];
  if (layer === undefined) throw new Error('there is no signature to tamper with');
  const payload = (await client.blob(layer.digest)).toString().replace(from, to);
  const digest = await client.putBlob(Buffer.from(payload));
  const forged: Descriptor = { ...layer, digest, size: Buffer.byteLength(payload) };
  await client.putManifest({ ...manifest, layers: [forged] }, signatureTag(to));
};

/** Attaches the first bundle of `from` to `to`, unchanged: a true signature, of something else. */
export const borrowBundle = async (client: RepositoryClient, from: Digest, to: Digest): Promise<void> => {
  const manifest = await bundleManifest(client, from);
  await client.putManifest({ ...manifest, subject: await subjectOf(client, to) });
};

/** The same with the signed statement changed so that it speaks of `to`; the signature and the key's hint stay. */
export const forgeBundle = async (client: RepositoryClient, from: Digest, to: Digest): Promise<void> => {
  const manifest = await bundleManifest(client, from);
  const layer = manifest.layers?.[0];
  if (layer === undefined) throw new Error('the bundle has no content to tamper with');
  const bundle = JSON.parse((await client.blob(layer.digest)).toString()) as Bundle;
  const statement = Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString();
  const payload = Buffer.from(statement.replaceAll(digestHex(from), digestHex(to))).toString('base64');
  const content = Buffer.from(JSON.stringify({ ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, payload } }));
  const forged: Descriptor = { ...layer, digest: await client.putBlob(content), size: content.byteLength };
  await client.putManifest({ ...manifest, layers: [forged], subject: await subjectOf(client, to) });
};

type Bundle = { readonly dsseEnvelope: { readonly payload: string } };

const bundleManifest = async (client: RepositoryClient, of: Digest): Promise<Manifest> => {
  const [referrer] = await client.referrers(of);
  if (referrer === undefined) throw new Error('there is no bundle to tamper with');
  return (await client.manifest(referrer.digest)).manifest;
};

const subjectOf = async (client: RepositoryClient, digest: Digest): Promise<Descriptor> => {
  const { manifest, size } = await client.manifest(digest);
  return { mediaType: manifest.mediaType, digest, size };
};

const signatureTag = (digest: Digest): string => `sha256-${digestHex(digest)}.sig`;
