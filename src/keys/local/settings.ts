import { z } from 'zod';
import type { AlgorithmName } from '../../model/algorithm.ts';
import { algorithms } from '../algorithms.ts';
import { commonSettings, line, secret } from '../common-settings.ts';

const algorithmNames = Object.keys(algorithms) as AlgorithmName[];

/** A key in a file, or one generated at start for development. */
export const localSettings = z
  .strictObject({
    ...commonSettings,
    kind: z.literal('local'),
    file: line
      .optional()
      .describe(
        'Private key: a cosign.key file, PKCS#8 (plain or encrypted), SEC1 or PKCS#1, PEM. Read when the key is opened.',
      ),
    password: secret.optional().describe('Password of the file; take it from the environment. May be empty.'),
    passwordFile: line.optional().describe('File with the password of the file; one final newline is dropped.'),
    generate: z
      .enum(algorithmNames)
      .optional()
      .describe('Development only: make a new key of this algorithm in memory at every start.'),
  })
  .superRefine((settings, context) => {
    const refuse = (path: string, message: string): void => {
      context.addIssue({ code: 'custom', path: [path], message });
    };
    if ((settings.file === undefined) === (settings.generate === undefined)) {
      refuse('file', 'exactly one of file and generate must be set');
    }
    if (settings.password !== undefined && settings.passwordFile !== undefined) {
      refuse('passwordFile', 'password and passwordFile cannot both be set');
    }
    for (const name of ['password', 'passwordFile', 'rsaPadding', 'rsaHash'] as const) {
      if (settings.generate !== undefined && settings[name] !== undefined) {
        refuse(name, 'has no meaning with generate');
      }
    }
  });

export type LocalSettings = z.infer<typeof localSettings>;
