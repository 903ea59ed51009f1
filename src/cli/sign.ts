import { create } from '@bufbuild/protobuf';
import { SigningService, SignRequestSchema, SignResponseSchema } from '../gen/countersign/v1/signing_pb.ts';
import { batchAbout, batchOption } from './batch-option.ts';
import { callOnce } from './client.ts';
import type { Command } from './command.ts';
import { connectionOptions, outputOption } from './connection-options.ts';
import { exitCode } from './exit-codes.ts';
import { messageJson, wantsJson } from './output.ts';
import {
  againOption,
  annotationOption,
  annotationsOf,
  formatOption,
  formatsOf,
  keyOption,
  recursiveOf,
  recursiveOptions,
  required,
  storageOf,
  storageOptions,
} from './request.ts';
import { bundleOption, checkBundleOption, writeSigned } from './signed.ts';
import { subjectName, subjectOf, subjectOptions, subjectUsage } from './subject.ts';

export const sign: Command = {
  name: 'sign',
  summary: 'sign an image or a blob',
  usage: [...subjectUsage.map((subject) => `${subject} --key NAME [options]`), '--batch FILE [options]'],
  about: ['Signs with a key that the service holds. For an image, the signature is pushed beside it.', batchAbout],
  options: [
    keyOption,
    formatOption('bundle', 'simple-signing'),
    annotationOption,
    ...recursiveOptions,
    againOption,
    ...storageOptions,
    bundleOption,
    ...subjectOptions,
    batchOption,
    outputOption,
    ...connectionOptions,
  ],
  examples: [
    'countersign sign registry.example/acme/app:v1 --key release',
    'countersign sign registry.example/acme/app:v1 --key release --format bundle,simple-signing -a commit=4f2a9c1',
    'countersign sign registry.example/acme/app:v1 --key release --recursive --platform linux/amd64,linux/arm64',
    'countersign sign --blob app.tar.gz --name acme/app.tar.gz --key release --bundle app.tar.gz.sigstore.json',
    'countersign sign --batch images.txt --key release -a build=417',
  ],
  run: async (input, terminal) => {
    const batch = input.text('batch');
    if (batch !== undefined) {
      const { runBatch } = await import('./batch.ts');
      return runBatch(batch, input, terminal);
    }
    const request = create(SignRequestSchema, {
      key: required(input, 'key'),
      formats: formatsOf(input),
      annotations: annotationsOf(input),
      ...recursiveOf(input),
      subject: await subjectOf(input),
    });
    if (input.flag('again')) request.ifAbsent = false;
    const storage = storageOf(input);
    if (storage !== undefined) request.storage = storage;
    const path = input.text('bundle');
    checkBundleOption(path, request.formats);
    const subject = request.subject === undefined ? '' : subjectName(request.subject);
    const what = `signing ${subject} with ${request.key}`;
    const response = await callOnce(input, terminal, what, SigningService.method.sign, request);
    const json = wantsJson(input) ? messageJson(SignResponseSchema, response) : undefined;
    await writeSigned(response, { path, json }, terminal);
    return exitCode.ok;
  },
};
