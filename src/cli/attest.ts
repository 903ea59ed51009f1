import { create } from '@bufbuild/protobuf';
import { AttestRequestSchema, AttestResponseSchema, SigningService } from '../gen/countersign/v1/signing_pb.ts';
import { callOnce } from './client.ts';
import type { Command } from './command.ts';
import { connectionOptions, outputOption } from './connection-options.ts';
import { exitCode } from './exit-codes.ts';
import { readBounded } from './files.ts';
import { messageJson, wantsJson } from './output.ts';
import {
  formatOption,
  formatsOf,
  ifAbsentOption,
  keyOption,
  recursiveOf,
  recursiveOptions,
  required,
  storageOf,
  storageOptions,
  typeOption,
} from './request.ts';
import { bundleOption, checkBundleOption, writeSigned } from './signed.ts';
import { subjectName, subjectOf, subjectOptions, subjectUsage } from './subject.ts';

const maxPredicateBytes = 2 * 1024 * 1024;

export const attest: Command = {
  name: 'attest',
  summary: 'make a signed attestation about an image or a blob',
  usage: subjectUsage.map((subject) => `${subject} --key NAME --type TYPE --predicate FILE [options]`),
  options: [
    keyOption,
    typeOption,
    { name: 'predicate', type: 'text', value: 'FILE', help: 'the predicate, one JSON object (- for standard input)' },
    formatOption('bundle', 'dsse'),
    ...recursiveOptions,
    ifAbsentOption,
    ...storageOptions,
    bundleOption,
    ...subjectOptions,
    outputOption,
    ...connectionOptions,
  ],
  examples: [
    'countersign attest registry.example/acme/app:v1 --key release --type slsaprovenance1 --predicate provenance.json',
    'countersign attest registry.example/acme/app:v1 --key release --type spdxjson --predicate sbom.spdx.json',
  ],
  run: async (input, terminal) => {
    const request = create(AttestRequestSchema, {
      key: required(input, 'key'),
      predicateType: required(input, 'type'),
      formats: formatsOf(input),
      ...recursiveOf(input),
      subject: await subjectOf(input),
      predicate: await readBounded(required(input, 'predicate'), maxPredicateBytes),
    });
    if (input.flag('if-absent')) request.ifAbsent = true;
    const storage = storageOf(input);
    if (storage !== undefined) request.storage = storage;
    const path = input.text('bundle');
    checkBundleOption(path, request.formats);
    const subject = request.subject === undefined ? '' : subjectName(request.subject);
    const what = `attesting ${request.predicateType} of ${subject} with ${request.key}`;
    const response = await callOnce(input, terminal, what, SigningService.method.attest, request);
    const json = wantsJson(input) ? messageJson(AttestResponseSchema, response) : undefined;
    await writeSigned(response, { path, json }, terminal);
    return exitCode.ok;
  },
};
