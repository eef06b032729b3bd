import { LabError } from './wait.ts';

/** Shows what is being done, with its time. */
export interface Steps {
  step<T>(what: string, work: () => Promise<T>): Promise<T>;
}

export const silentSteps: Steps = { step: (_, work) => work() };

/** One line a step on the terminal: time since the start, what, how long it took, and what came out of it. */
export function terminalSteps(write: (text: string) => void): Steps {
  const start = performance.now();
  const seconds = (from: number) => ((performance.now() - from) / 1000).toFixed(1).padStart(5);
  return {
    async step(what, work) {
      const begin = performance.now();
      try {
        const result = await work();
        const [first = '', ...more] = typeof result === 'string' ? result.split('\n') : [];
        const inline = more.length === 0 && first ? ` (${first})` : '';
        write(`${seconds(start)} s  ok    ${what}${inline}, ${seconds(begin).trim()} s\n`);
        if (more.length > 0) for (const line of [first, ...more]) write(`               ${line}\n`);
        return result;
      } catch (error) {
        write(`${seconds(start)} s  FAIL  ${what}\n`);
        throw error instanceof LabError ? new LabError(`${what}: ${error.message}`) : error;
      }
    },
  };
}
