import { create } from '@bufbuild/protobuf';
import { methods, streamMethods } from './methods.ts';
import { violationsOf } from './validation.ts';

/**
 * Plans the rules of every request (60 ms the first time) before the first caller waits for it, and finds rules that
 * cannot be evaluated: throws `internal`, reason `BAD_RULE`.
 */
export const warmValidation = (): void => {
  for (const { desc } of [...methods, ...streamMethods]) violationsOf(desc.input, create(desc.input));
};
