import { existsSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigError } from '@mesobus/sdk/service';
import {
  type DecayedDrfOptions,
  decayedDrf,
  drf,
  guarded,
  type Policy,
  type PolicyProblem,
  policyProblems,
  random,
} from '../core/sorter/index.ts';

export interface LoadPolicyOptions extends DecayedDrfOptions {
  /** The flag that names the policy, for refusals. */
  readonly flag: string;
  /** Told once if a policy of the operator's own gives no key; see `guarded`. */
  readonly onProblem: (problem: PolicyProblem) => void;
}

/**
 * The policy that an operator has named.
 *
 * @param named - `drf`, `random`, `decayed-drf`, or the path of a module whose default export is a policy
 * @throws {ConfigError} naming what is wrong with the name, the module or a member of the policy, and what to do
 */
export async function loadPolicy(named: string, options: LoadPolicyOptions): Promise<Policy> {
  if (named === 'drf') return drf;
  if (named === 'random') return random;
  if (named === 'decayed-drf') return decayedDrf(options);
  return guarded(await policyOf(named, options.flag), options.onProblem);
}

async function policyOf(named: string, flag: string): Promise<Policy> {
  const file = path.resolve(named);
  if (!existsSync(file)) {
    const wanted = `give 'drf', 'random', 'decayed-drf' or the path of a module`;
    throw new ConfigError([`${flag} is '${named}', which is neither a policy nor a file (${file}): ${wanted}`]);
  }
  const refuse = (why: string, todo: string, cause?: unknown): never => {
    throw new ConfigError([`${flag}: the policy in ${file} cannot be used: ${why}: ${todo}`], { cause });
  };
  let loaded: { default?: unknown };
  try {
    loaded = (await import(pathToFileURL(file).href)) as { default?: unknown };
  } catch (cause) {
    return refuse(`loading it failed: ${cause instanceof Error ? cause.message : String(cause)}`, 'mend it', cause);
  }
  if (loaded.default === undefined)
    return refuse('it has no default export', `write 'export default' before the policy`);
  const problems = policyProblems(loaded.default);
  if (problems.length > 0) refuse(problems.join('; '), `see the interface 'Policy' of @mesobus/allocator/policy`);
  return loaded.default as Policy;
}
