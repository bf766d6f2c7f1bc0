import { statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type Acls, type Action, authorize } from '@mesobus/sdk/authorization';
import { RefusedError } from '@mesobus/sdk/errors';
import type { WatchedFile } from '@mesobus/sdk/service';
import { ownerOf, type State } from '../core/index.ts';
import { Users } from './users.ts';

export interface VisitorRightsOptions {
  /** Absent: everybody may look into everything. */
  readonly acls: Pick<WatchedFile<Acls>, 'value'> | undefined;
  /** Looked at, never changed. */
  readonly state: State;
  readonly sandboxes: string;
}

/** Says who may look into which container: what counts is the user that the container runs as. */
export class VisitorRights {
  readonly #options: VisitorRightsOptions;
  readonly #users = new Users();

  constructor(options: VisitorRightsOptions) {
    this.#options = options;
  }

  /**
   * @param user - undefined: not known
   * @throws {RefusedError} not_authorized
   */
  check(principal: string, action: Action, user: string | undefined, subject: string): void {
    const acls = this.#options.acls?.value;
    const decision = acls && authorize(acls, principal, action, user);
    if (decision && !decision.allowed) throw new RefusedError('not_authorized', subject, decision.why);
  }

  mayView(principal: string, containerId: string): boolean {
    const acls = this.#options.acls?.value;
    const user = ownerOf(this.#options.state, containerId);
    return acls === undefined || authorize(acls, principal, 'view_containers', user).allowed;
  }

  /**
   * @param path - below the folder of sandboxes
   * @throws {RefusedError} not_authorized
   */
  checkPath(principal: string, path: string): void {
    if (this.#options.acls !== undefined) this.check(principal, 'access_sandboxes', this.#ownerOfPath(path), path);
  }

  /** Of a container that is forgotten, to whom its folder belongs; of what is above containers nobody. */
  #ownerOfPath(path: string): string | undefined {
    const { state, sandboxes } = this.#options;
    const [framework, task, containerId] = relative(sandboxes, path).split('/');
    if (!framework || !task || !containerId) return undefined;
    const known = ownerOf(state, containerId);
    if (known !== undefined) return known;
    const found = statSync(join(sandboxes, framework, task, containerId), { throwIfNoEntry: false });
    return found && this.#users.nameOf(found.uid);
  }
}
