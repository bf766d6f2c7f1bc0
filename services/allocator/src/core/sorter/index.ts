// @mesobus/allocator/policy: what a policy is, and those that come with Mesobus.
export { type DecayedDrfOptions, decayedDrf, defaultHalfLifeMs } from './decayed-drf.ts';
export { drf } from './drf.ts';
export { type Candidate, guarded, type Policy, type PolicyProblem, policyProblems, type Random } from './policy.ts';
export { random } from './random.ts';
