// What the emulators of AWS have in common: calls that need no signature, and keys made with them.
import { createPublicKey } from 'node:crypto';

export interface KmsKey {
  readonly id: string;
  readonly arn: string;
  /** The public key. */
  readonly pem: string;
}

export interface AwsPeer {
  readonly endpoint: string;
  /** Credentials and region, as cosign's awskms:// keys and the SDKs want them. */
  readonly env: Readonly<Record<string, string>>;
  /** One operation of KMS; throws unless it succeeds. The answer is taken to be a Body. */
  kms<Body = unknown>(operation: string, body: object, inRegion?: string): Promise<Body>;
  /** Makes a key that signs, with an alias (`alias/NAME`). `more`: of CreateKey. */
  createKey(alias: string, spec: string, more?: object): Promise<KmsKey>;
  stop(): Promise<void>;
}

export const region = 'eu-central-1';

export const awsPeer = (endpoint: string, stop: () => Promise<void>): AwsPeer => {
  const kms = async <Body>(operation: string, body: object, inRegion = region): Promise<Body> => {
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-amz-json-1.1',
        'x-amz-target': `TrentService.${operation}`,
        // Signatures are not checked; the region is read from here.
        authorization: `AWS4-HMAC-SHA256 Credential=test/20260101/${inRegion}/kms/aws4_request, SignedHeaders=host, Signature=0`,
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    });
    const answer = await response.text();
    if (response.status !== 200) throw new Error(`KMS: ${operation}: ${response.status} ${answer}`);
    return JSON.parse(answer === '' ? 'null' : answer);
  };
  return {
    endpoint,
    env: {
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'the-secret-of-a-test',
      AWS_REGION: region,
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_CONFIG_FILE: '/nonexistent/config',
      AWS_SHARED_CREDENTIALS_FILE: '/nonexistent/credentials',
    },
    kms,
    createKey: async (alias, spec, more = {}) => {
      const { KeyMetadata } = await kms<{ KeyMetadata: { KeyId: string; Arn: string } }>('CreateKey', {
        KeySpec: spec,
        KeyUsage: 'SIGN_VERIFY',
        ...more,
      });
      await kms('CreateAlias', { AliasName: alias, TargetKeyId: KeyMetadata.KeyId });
      const { PublicKey } = await kms<{ PublicKey: string }>('GetPublicKey', { KeyId: KeyMetadata.KeyId });
      const key = createPublicKey({ key: Buffer.from(PublicKey, 'base64'), format: 'der', type: 'spki' });
      const pem = key.export({ type: 'spki', format: 'pem' }).toString();
      return { id: KeyMetadata.KeyId, arn: KeyMetadata.Arn, pem };
    },
    stop,
  };
};
