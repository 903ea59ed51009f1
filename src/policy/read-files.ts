import { readFile, stat } from 'node:fs/promises';
import { type Mistake, policyInvalid } from './mistake.ts';
import { maxFileLength, type SourceFile } from './yaml.ts';

/**
 * Reads policy (and policy test) files for `loadPolicy` and `runPolicyTests`. Throws `invalid_argument`, reason
 * `POLICY_INVALID`, naming every file that cannot be read or is larger than 256 KiB.
 */
export const readPolicyFiles = async (paths: readonly string[]): Promise<readonly SourceFile[]> => {
  const mistakes: Mistake[] = [];
  const files: SourceFile[] = [];
  for (const path of paths) {
    const refuse = (problem: string, fix: string) => mistakes.push({ file: path, line: 1, path: '', problem, fix });
    try {
      const { size } = await stat(path);
      if (size > maxFileLength) refuse(`the file is larger than ${maxFileLength} bytes`, 'split it into several files');
      else files.push({ path, text: await readFile(path, 'utf8') });
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
      refuse(`the file cannot be read (${code})`, 'check the path and its permissions');
    }
  }
  if (mistakes.length > 0) throw policyInvalid(mistakes);
  return files;
};
