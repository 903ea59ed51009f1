import { CountersignError } from '../model/error.ts';

/** The error of a call that must be refused; throws when it is answered. */
export const refusalOf = async (call: Promise<unknown>): Promise<CountersignError> => {
  try {
    await call;
  } catch (caught) {
    if (caught instanceof CountersignError) return caught;
    throw caught;
  }
  throw new Error('This call should have been refused, and was not.');
};
