import { type Context, openPart } from '../../model/context.ts';

/** A turn that somebody has. `followed`: another one of this process had it just before. */
export type Turn = { readonly followed: boolean; leave(): void };

/** Turns by name within this process, in the order in which they were asked for. */
export type Turns = {
  /** Waits for one; undefined when `waitMs` have passed. Rejects with the reason for which the context ended. */
  enter(name: string, context: Context, waitMs: number): Promise<Turn | undefined>;
};

export const createTurns = (): Turns => {
  const waiting = new Map<string, ((turn: Turn) => void)[]>();

  const open = (name: string, followed: boolean): Turn => ({
    followed,
    leave: () => {
      const next = waiting.get(name)?.shift();
      if (next === undefined) waiting.delete(name);
      else next(open(name, true));
    },
  });

  return {
    enter: (name, context, waitMs) => {
      const queue = waiting.get(name);
      if (queue === undefined) {
        waiting.set(name, []);
        return Promise.resolve(open(name, false));
      }
      return new Promise((resolve, reject) => {
        const part = openPart(context, context.requestId, waitMs);
        const take = (turn: Turn): void => {
          done();
          resolve(turn);
        };
        const give = (): void => {
          queue.splice(queue.indexOf(take), 1);
          done();
          if (context.signal.aborted) reject(context.signal.reason);
          else resolve(undefined);
        };
        const done = (): void => {
          part.context.signal.removeEventListener('abort', give);
          part.dispose();
        };
        queue.push(take);
        if (part.context.signal.aborted) give();
        else part.context.signal.addEventListener('abort', give);
      });
    },
  };
};
