// Waiting for conditions: never for a time.

const PAUSE_MILLIS = 15;

/** Tries until it succeeds, and gives what it gave; fails with the last reason after a time that nothing takes. */
export async function eventually(what, attempt, millis = 30_000) {
  const until = performance.now() + millis;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > until) throw new Error(`not within ${millis} ms: ${what}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLIS));
    }
  }
}
