/** Whether `role` lies strictly below `ancestor` in the tree of roles: `ads/web` below `ads`. */
export function isSubroleOf(role: string, ancestor: string): boolean {
  return role.length > ancestor.length && role[ancestor.length] === '/' && role.startsWith(ancestor);
}

/**
 * Says what is wrong with the name of a role, as part of a sentence; undefined if nothing is. `*` is a role.
 *
 * A role is a path of components separated by `/`. No component may be empty, `.`, `..` or `*`, start with `-`, or hold
 * white space or control characters.
 */
export function roleProblem(role: string): string | undefined {
  if (role === '*') return undefined;
  if (role === '') return 'a role is empty';
  for (const component of role.split('/')) {
    const problem = componentProblem(component);
    if (problem !== undefined) return `role '${role}' ${problem}`;
  }
  return undefined;
}

function componentProblem(component: string): string | undefined {
  if (component === '') return 'has an empty component';
  if (component === '.' || component === '..' || component === '*') return `has '${component}' as a component`;
  if (component.startsWith('-')) return `has a component that starts with '-'`;
  if (/[\s\p{Cc}]/u.test(component)) return 'holds white space or control characters';
  return undefined;
}
