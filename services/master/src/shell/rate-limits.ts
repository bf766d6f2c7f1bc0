import { readFileSync } from 'node:fs';
import { ConfigError, type Counter, type Metrics } from '@mesobus/sdk/service';

/** How many calls a second, and how many at once after a pause. Without a rate there is no limit. */
export interface Limit {
  readonly qps: number | undefined;
  readonly capacity: number | undefined;
}

export interface RateLimits {
  readonly limits: ReadonlyMap<string, Limit>;
  /** Of all principals together that are not named. */
  readonly others: Limit;
}

/**
 * Reads Mesos' RateLimits as JSON.
 *
 * @throws {Error} naming each field that is wrong
 */
export function parseRateLimits(text: string): RateLimits {
  const json: unknown = JSON.parse(text);
  const problems: string[] = [];
  const fieldsOf = (path: string, value: unknown, known: readonly string[]): Readonly<Record<string, unknown>> => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      problems.push(`${path} is not an object`);
      return {};
    }
    for (const name of Object.keys(value)) {
      if (!known.includes(name))
        problems.push(`${path} has '${name}': use ${known.map((one) => `'${one}'`).join(', ')}`);
    }
    return value as Record<string, unknown>;
  };
  const number = (path: string, value: unknown, least: number): number | undefined => {
    if (value === undefined || (typeof value === 'number' && value >= least)) return value;
    problems.push(`${path} is ${JSON.stringify(value)}: give a number of at least ${least}`);
    return undefined;
  };
  const top = fieldsOf('the file', json, ['limits', 'aggregate_default_qps', 'aggregate_default_capacity']);
  const list = top['limits'] ?? [];
  if (!Array.isArray(list)) problems.push("'limits' is not a list");
  const limits = new Map<string, Limit>();
  for (const [index, one] of (Array.isArray(list) ? list : []).entries()) {
    const path = `limits[${index}]`;
    const { principal, qps, capacity } = fieldsOf(path, one, ['principal', 'qps', 'capacity']);
    if (typeof principal !== 'string' || principal === '')
      problems.push(`${path}.principal is not a text, or an empty one`);
    else if (limits.has(principal)) problems.push(`${path}.principal '${principal}' is named before`);
    else
      limits.set(principal, {
        qps: number(`${path}.qps`, qps, 0.001),
        capacity: number(`${path}.capacity`, capacity, 1),
      });
  }
  const others = {
    qps: number('aggregate_default_qps', top['aggregate_default_qps'], 0.001),
    capacity: number('aggregate_default_capacity', top['aggregate_default_capacity'], 1),
  };
  if (problems.length > 0) throw new Error(problems.join('; '));
  return { limits, others };
}

/** Tokens that come back with time, and are lent ahead: what is larger than the capacity must pass some time. */
class Bucket {
  readonly #limit: Limit;
  #tokens: number;
  #atMs: number;

  constructor(limit: Limit, nowMs: number) {
    this.#limit = limit;
    this.#tokens = this.#most;
    this.#atMs = nowMs;
  }

  get #most(): number {
    return this.#limit.capacity ?? Math.max(1, this.#limit.qps ?? 1);
  }

  take(count: number, nowMs: number): boolean {
    const { qps } = this.#limit;
    if (qps === undefined) return true;
    this.#tokens = Math.min(this.#most, this.#tokens + (Math.max(0, nowMs - this.#atMs) / 1000) * qps);
    this.#atMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= count;
    return true;
  }
}

/** Holds the schedulers of each principal to its rate of calls. */
export class RateLimiter {
  readonly #limits: RateLimits;
  readonly #buckets = new Map<string, Bucket>();
  #others: Bucket | undefined;
  readonly #refused: Counter | undefined;

  constructor(limits: RateLimits, metrics?: Metrics) {
    this.#limits = limits;
    this.#refused = metrics?.counter('master_rate_limited_calls_total', 'Calls of schedulers that came too fast.', {
      labels: ['principal'],
    });
  }

  /**
   * @param nowMs - from a clock that never goes back
   * @returns whether so many calls are taken now; all of them, or none
   */
  take(principal: string, calls: number, nowMs: number): boolean {
    const isTaken = this.#bucketOf(principal, nowMs).take(calls, nowMs);
    // Of principals that are not named there may be any number.
    if (!isTaken) this.#refused?.inc({ principal: this.#limits.limits.has(principal) ? principal : '' }, calls);
    return isTaken;
  }

  #bucketOf(principal: string, nowMs: number): Bucket {
    const own = this.#limits.limits.get(principal);
    if (own === undefined) {
      this.#others ??= new Bucket(this.#limits.others, nowMs);
      return this.#others;
    }
    const bucket = this.#buckets.get(principal) ?? new Bucket(own, nowMs);
    this.#buckets.set(principal, bucket);
    return bucket;
  }
}

/** @throws {ConfigError} the file cannot be read, or is wrong */
export function openRateLimits(file: string | undefined, metrics: Metrics): RateLimiter | undefined {
  if (file === undefined) return undefined;
  try {
    return new RateLimiter(parseRateLimits(readFileSync(file, 'utf8')), metrics);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const remedy = 'mend it, or leave --rate-limits out';
    throw new ConfigError([`--rate-limits: '${file}': ${why}; ${remedy}`], { cause });
  }
}
