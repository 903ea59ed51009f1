import { create } from '@bufbuild/protobuf';
import {
  type TrustedKey,
  TrustedKeySchema,
  VerificationService,
  VerifyRequestSchema,
  VerifyResponseSchema,
} from '../gen/countersign/v1/verification_pb.ts';
import { callOnce } from './client.ts';
import { type Command, type Input, UsageError } from './command.ts';
import { connectionOptions, outputOption } from './connection-options.ts';
import { exitCode } from './exit-codes.ts';
import { readBounded, readText } from './files.ts';
import { messageJson, wantsJson } from './output.ts';
import { annotationOption, annotationsOf, repositoryOption, typeOption } from './request.ts';
import { subjectName, subjectOf, subjectOptions, subjectUsage } from './subject.ts';
import { verdictText } from './verdict-text.ts';

const maxSignatureBytes = 1024 * 1024;

export const verify: Command = {
  name: 'verify',
  summary: 'say whether an image or a blob is signed by a trusted key, and why',
  usage: subjectUsage.map((subject) => `${subject} (--key NAME | --key-file PEM)... [options]`),
  about: [
    'Exits with 0 when a signature (or, with --type, an attestation of that type) by one of the keys was found, with 10 when not.',
  ],
  options: [
    { name: 'key', type: 'list', value: 'NAME', help: 'a configured key that counts, in all its versions' },
    { name: 'key-file', type: 'list', value: 'PEM', help: 'file with a public key that counts' },
    { ...typeOption, help: 'an attestation of this predicate type is wanted: a URI or a short name' },
    { ...annotationOption, help: 'must be in the signed content' },
    {
      name: 'signature',
      type: 'list',
      value: 'FILE',
      help: 'a signature at hand: bundle, DSSE envelope, or the bare signature of a blob',
    },
    repositoryOption,
    ...subjectOptions,
    outputOption,
    ...connectionOptions,
  ],
  examples: [
    'countersign verify registry.example/acme/app:v1 --key release',
    'countersign verify registry.example/acme/app:v1 --key-file release.pub --type slsaprovenance1',
    'countersign verify --blob app.tar.gz --key release --signature app.tar.gz.sigstore.json',
  ],
  run: async (input, terminal) => {
    const request = create(VerifyRequestSchema, {
      keys: await trustedKeys(input),
      predicateType: input.text('type') ?? '',
      annotations: annotationsOf(input),
      signatures: await Promise.all(input.list('signature').map((path) => readBounded(path, maxSignatureBytes))),
      repository: input.text('repository') ?? '',
      subject: await subjectOf(input),
    });
    const subject = request.subject === undefined ? '' : subjectName(request.subject);
    const what = `verifying ${subject}`;
    const response = await callOnce(input, terminal, what, VerificationService.method.verify, request);
    terminal.out(
      wantsJson(input) ? messageJson(VerifyResponseSchema, response) : verdictText(response, subject, terminal),
    );
    return response.verified ? exitCode.ok : exitCode.negative;
  },
};

const trustedKeys = async (input: Input): Promise<TrustedKey[]> => {
  const named = input.list('key').map((name) => create(TrustedKeySchema, { source: { case: 'key', value: name } }));
  const read = async (path: string): Promise<TrustedKey> =>
    create(TrustedKeySchema, { source: { case: 'pem', value: await readText(path, 8192) } });
  const keys = [...named, ...(await Promise.all(input.list('key-file').map(read)))];
  if (keys.length === 0) throw new UsageError('Name at least one key that counts: --key NAME or --key-file PEM.');
  return keys;
};
