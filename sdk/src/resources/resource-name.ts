import type { Problem } from './malformed-resource-error.ts';

/**
 * Says why a text cannot name a resource; undefined if it can.
 *
 * The names that every JavaScript object has (`constructor`, `__proto__`) are refused, so that names can be keys of
 * plain objects.
 */
export function nameProblem(name: unknown): Problem | undefined {
  if (typeof name !== 'string' || name === '') {
    return { problem: 'it has no name', remedy: "name the resource, for example 'cpus'" };
  }
  if (name in Object.prototype) return { problem: `the name '${name}' is reserved`, remedy: 'choose another name' };
  if (/\p{Cc}|^\s|\s$/u.test(name)) {
    return {
      problem: 'its name holds control characters, or starts or ends with white space',
      remedy: "use plain characters, for example 'cpus'",
    };
  }
  return undefined;
}
