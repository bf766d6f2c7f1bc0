import type { mesobus } from '@mesobus/protos';
import { dominantShare } from './dominant-share.ts';
import { sortMembers, sortRoles } from './sorter.ts';
import type { State } from './state.ts';

/** Who holds how much, in the order in which roles and frameworks are served. */
export function shares(state: State): mesobus.v1.ShareList.$Properties {
  const roles = sortRoles(state);
  return {
    roles: roles.map((role) => {
      const { share, resource } = dominantShare(role.account.held, state.total, role.weight);
      return { role: role.name, weight: role.weight, dominantShare: share, dominantResource: resource };
    }),
    frameworks: roles.flatMap((role) =>
      sortMembers(state, role).map((frameworkId) => {
        const held = role.members.get(frameworkId)?.held ?? {};
        const { share, resource } = dominantShare(held, state.total, 1);
        const suppressed = state.frameworks.get(frameworkId)?.suppressedRoles.has(role.name) ?? false;
        return {
          role: role.name,
          frameworkId,
          weight: 1,
          dominantShare: share,
          dominantResource: resource,
          suppressed,
        };
      }),
    ),
  };
}
