import { encode, type mesobus, mesos } from '@mesobus/protos';
import { type ConstraintRegex, compileRegex, defaultRegexBounds, type RegexBounds } from './constraint-regex.ts';

export { defaultRegexBounds, type RegexBounds } from './constraint-regex.ts';

type OfferConstraints = mesos.v1.scheduler.OfferConstraints;
type RoleConstraints = mesos.v1.scheduler.OfferConstraints.RoleConstraints;
type Constraint = mesos.v1.scheduler.AttributeConstraint;

const { RoleConstraints: RoleConstraintsMessage } = mesos.v1.scheduler.OfferConstraints;
const { HOSTNAME, REGION, ZONE } = mesos.v1.scheduler.AttributeConstraint.Selector.PseudoattributeType;
const { TEXT } = mesos.v1.Value.Type;

/** What constraints look at of an agent. */
export type ConstrainedAgent = Readonly<Pick<mesobus.v1.AgentBook, 'attributes' | 'hostname' | 'domain'>>;

/** Whether an agent meets the constraints of a role. */
export type AgentPredicate = (agent: ConstrainedAgent) => boolean;

/** So many problems are named; the others can wait until these are mended. */
const maxProblems = 10;

/**
 * Says what is wrong with what a framework demands of agents: the field, what, why and what to do, a sentence each.
 *
 * @param roles - those of the framework
 * @returns empty if nothing is wrong
 */
export function constraintProblems(
  constraints: OfferConstraints | null,
  roles: readonly string[],
  bounds: RegexBounds = defaultRegexBounds,
): string[] {
  const problems: string[] = [];
  for (const problem of problemsIn(constraints, roles, bounds)) {
    if (problems.push(problem) === maxProblems) break;
  }
  return problems;
}

function* problemsIn(
  constraints: OfferConstraints | null,
  roles: readonly string[],
  bounds: RegexBounds,
): Iterable<string> {
  for (const [role, { groups }] of Object.entries(constraints?.roleConstraints ?? {})) {
    const path = `offer_constraints.role_constraints['${role}']`;
    if (!roles.includes(role))
      yield `${path}: the framework does not have the role: name one of its own, or leave this out`;
    if (groups.length === 0) yield `${path}.groups: it is empty: give at least one, or leave the role out`;
    for (const [i, { attributeConstraints }] of groups.entries()) {
      const inGroup = `${path}.groups[${i}].attribute_constraints`;
      if (attributeConstraints.length === 0) yield `${inGroup}: it is empty: give at least one, or leave the group out`;
      for (const [j, constraint] of attributeConstraints.entries()) {
        yield* problemsOf(constraint, `${inGroup}[${j}]`, bounds);
      }
    }
  }
}

function* problemsOf({ selector, predicate }: Constraint, path: string, bounds: RegexBounds): Iterable<string> {
  const { attributeName, pseudoattributeType } = selector;
  if (attributeName === null && pseudoattributeType === null)
    yield `${path}.selector: it selects nothing that is known here: give 'attribute_name' or 'pseudoattribute_type'`;
  else if (attributeName === null && !isKnown(pseudoattributeType))
    yield `${path}.selector.pseudoattribute_type: ${pseudoattributeType} is unknown: give HOSTNAME, REGION or ZONE`;
  if (predicate.predicate === undefined)
    yield `${path}.predicate: it says nothing that is known here: give exists, not_exists, text_equals, ` +
      'text_not_equals, text_matches or text_not_matches';
  const { textMatches, textNotMatches } = predicate;
  const regex = (textMatches ?? textNotMatches)?.regex;
  const compiled = regex === undefined ? undefined : compileRegex(regex, bounds);
  const field = textMatches === null ? 'text_not_matches' : 'text_matches';
  if (typeof compiled === 'string') yield `${path}.predicate.${field}.regex: ${compiled}`;
}

const isKnown = (type: number | null): boolean => type === HOSTNAME || type === REGION || type === ZONE;

/**
 * What a framework demands of agents, ready to be asked, by role; a role that is not in it takes all agents. Equal
 * constraints give the very same predicate, whichever framework they are of: what it said of an agent may be kept.
 *
 * A constraint that the master would have refused holds for no agent.
 */
export function compileConstraints(constraints: OfferConstraints | null): Map<string, AgentPredicate> {
  const predicates = new Map<string, AgentPredicate>();
  for (const [role, required] of Object.entries(constraints?.roleConstraints ?? {})) {
    const text = Buffer.from(encode(RoleConstraintsMessage, required)).toString('latin1');
    predicates.set(
      role,
      remembered(rolePredicates, text, () => rolePredicate(required)),
    );
  }
  return predicates;
}

/** Compiled before and perhaps wanted again: a matter of speed, for the same text always gives the same. */
const rolePredicates = new Map<string, AgentPredicate>();
const regexes = new Map<string, ConstraintRegex | undefined>();
/** Of each; the one that was made first is forgotten first. What has a longer text is made each time. */
const maxRemembered = 1_000;
const maxRememberedLength = 4_096;

function remembered<T>(known: Map<string, T>, text: string, make: () => T): T {
  if (known.has(text)) return known.get(text) as T;
  const made = make();
  if (text.length > maxRememberedLength) return made;
  if (known.size >= maxRemembered) known.delete(known.keys().next().value as string);
  known.set(text, made);
  return made;
}

function rolePredicate({ groups }: RoleConstraints): AgentPredicate {
  const compiled = groups.map(({ attributeConstraints }) => attributeConstraints.map(constraintPredicate));
  return (agent) => compiled.some((group) => group.length > 0 && group.every((holds) => holds(agent)));
}

function constraintPredicate({ selector, predicate }: Constraint): AgentPredicate {
  const find = finderOf(selector);
  const holds = holderOf(predicate);
  return find === undefined || holds === undefined ? () => false : (agent) => holds(find(agent));
}

/** What is selected of an agent: its text; null, what is no text; undefined, nothing. */
type Found = string | null | undefined;

function finderOf({
  attributeName,
  pseudoattributeType,
}: Constraint['selector']): ((agent: ConstrainedAgent) => Found) | undefined {
  if (attributeName !== null) {
    return ({ attributes }) => {
      const first = attributes.find(({ name }) => name === attributeName);
      if (first === undefined) return undefined;
      return first.type === TEXT ? (first.text?.value ?? '') : null;
    };
  }
  if (pseudoattributeType === HOSTNAME) return ({ hostname }) => hostname;
  if (pseudoattributeType === REGION) return ({ domain }) => domain?.faultDomain?.region.name;
  if (pseudoattributeType === ZONE) return ({ domain }) => domain?.faultDomain?.zone.name;
  return undefined;
}

/** What is no text meets every predicate on texts; what is missing meets the negative ones only. */
function holderOf(predicate: Constraint['predicate']): ((found: Found) => boolean) | undefined {
  const { exists, notExists, textEquals, textNotEquals, textMatches, textNotMatches } = predicate;
  if (exists) return (found) => found !== undefined;
  if (notExists) return (found) => found === undefined;
  if (textEquals) return (found) => found === null || found === textEquals.value;
  if (textNotEquals) return (found) => found !== textNotEquals.value;
  const regex = knownRegex((textMatches ?? textNotMatches)?.regex);
  if (regex === undefined) return undefined;
  if (textMatches) return (found) => found === null || (found !== undefined && regex.matches(found));
  return (found) => typeof found !== 'string' || !regex.matches(found);
}

/** The master has applied its own, which may be others than the defaults. */
const generousBounds: RegexBounds = { maxMem: 65_536, maxProgramSize: 65_536 };

function knownRegex(text: string | undefined): ConstraintRegex | undefined {
  if (text === undefined) return undefined;
  return remembered(regexes, text, () => {
    const compiled = compileRegex(text, generousBounds);
    return typeof compiled === 'string' ? undefined : compiled;
  });
}
