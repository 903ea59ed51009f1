import { z } from 'zod';
import { configSchema } from './schema.ts';

/** The JSON Schema (draft 2020-12) of the configuration file, as text: what editors check a file against. */
export const printSchema = (): string =>
  JSON.stringify(
    {
      title: 'countersign configuration',
      ...z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }),
    },
    undefined,
    2,
  );
