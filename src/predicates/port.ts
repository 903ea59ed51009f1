/**
 * One predicate type. `check` refuses a predicate that its consumers could not read: every problem at once, as
 * `invalid_argument` with a field path below `predicate`. Pure.
 */
export interface PredicateType {
  /** The URI that goes into the statement. */
  readonly uri: string;
  /** Short names that cosign's `--type` knows for it. */
  readonly aliases: readonly string[];
  /** The parsed predicate (JSON value) -> the JSON value to put into the statement. */
  check(predicate: unknown, now: Date): unknown;
}
