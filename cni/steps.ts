/** One thing to do, and how to take it back. Undoing what was done by half, or not at all, must be harmless. */
export interface Step {
  readonly name: string;
  run(): Promise<void>;
  undo?(): Promise<void>;
}

/**
 * Runs the steps in order. When one fails, or the signal aborts between two, it and all before it are undone, last first; then the failure is
 * thrown. An undo that fails is told to `undoFailed` and does not keep the others from being tried.
 */
export async function runSteps(
  steps: readonly Step[],
  options: { readonly signal: AbortSignal; undoFailed(step: string, error: unknown): void },
): Promise<void> {
  const begun: Step[] = [];
  try {
    for (const step of steps) {
      options.signal.throwIfAborted();
      begun.push(step);
      await step.run();
    }
    options.signal.throwIfAborted();
  } catch (error) {
    for (const step of begun.reverse()) await step.undo?.().catch((failure) => options.undoFailed(step.name, failure));
    throw error;
  }
}
