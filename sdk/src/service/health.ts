/** Says why something is not well; nothing if it is. Throwing says it too. */
export type HealthCheck = () => string | undefined | Promise<string | undefined>;

/** What /health says: `failing` has a reason for each check that fails. */
export interface HealthReport {
  readonly status: 'ok' | 'failing';
  readonly checks: readonly string[];
  readonly failing: Readonly<Record<string, string>>;
}

export interface Health {
  /** Adds a check, or replaces the one of this name. Returns the call that takes it away. */
  check(name: string, check: HealthCheck): () => void;
  report(): Promise<HealthReport>;
}

/** How long one check may take before it counts as failing. */
const checkTimeoutMs = 2_000;

/** A set of checks, all well while there are none. */
export function createHealth(options: { readonly timeoutMs?: number } = {}): Health {
  const checks = new Map<string, HealthCheck>();
  const timeoutMs = options.timeoutMs ?? checkTimeoutMs;
  return {
    check: (name, check) => {
      checks.set(name, check);
      return () => {
        if (checks.get(name) === check) checks.delete(name);
      };
    },
    report: async () => {
      const names = [...checks.keys()];
      const reasons = await Promise.all([...checks.values()].map((check) => ask(check, timeoutMs)));
      const failing = Object.fromEntries(
        names.flatMap((name, at) => (reasons[at] === undefined ? [] : [[name, reasons[at]]])),
      ) as Record<string, string>;
      return { status: Object.keys(failing).length === 0 ? 'ok' : 'failing', checks: names, failing };
    },
  };
}

async function ask(check: HealthCheck, timeoutMs: number): Promise<string | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<string>();
  const timer = setTimeout(() => resolve(`no answer within ${timeoutMs} ms`), timeoutMs);
  try {
    return await Promise.race([check(), late]);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
  }
}
