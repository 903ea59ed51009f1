/** A bound on retries as a share of all requests: what is down is not asked several times as often as what is up. */
export type RetryBudget = {
  /** To be called for each first attempt. */
  deposited(): void;
  /** May there be one more retry? Each true answer uses it up. */
  withdraw(): boolean;
};

export type RetryBudgetOptions = {
  /** Retries for each first attempt in the long run. Default: 0.2. */
  readonly ratio?: number;
  /** Retries that are allowed before any request was made. Default: 10. */
  readonly reserve?: number;
  /** The most retries that quiet times save up, at least `reserve`. Default: 100. */
  readonly cap?: number;
};

/** So that five fifths are a whole, whatever the rounding. */
const tolerance = 1e-9;

/** At most `reserve + ratio * first attempts` retries in all, and never more than `cap` in a row. Safe to share. */
export const createRetryBudget = ({ ratio = 0.2, reserve = 10, cap = 100 }: RetryBudgetOptions = {}): RetryBudget => {
  let saved = reserve;
  return {
    deposited: () => {
      saved = Math.min(cap, saved + ratio);
    },
    withdraw: () => {
      if (saved < 1 - tolerance) return false;
      saved -= 1;
      return true;
    },
  };
};
