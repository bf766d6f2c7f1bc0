import { createHmac, timingSafeEqual } from 'node:crypto';

/** Whom a token stands for, under the names that Mesos gives to these claims. */
export interface Claims {
  readonly frameworkId: string;
  readonly executorId: string;
  readonly containerId: string;
}

const header = encoded({ alg: 'HS256', typ: 'JWT' });

/**
 * Makes and checks the tokens of executors: JSON Web Tokens as those of Mesos, signed with a key of the agent. They need
 * not be kept anywhere, and hold for as long as the agent knows the container.
 */
export class Tokens {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  mint({ frameworkId, executorId, containerId }: Claims): string {
    const signed = `${header}.${encoded({ fid: frameworkId, eid: executorId, cid: containerId })}`;
    return `${signed}.${createHmac('sha256', this.#key).update(signed).digest('base64url')}`;
  }

  /** @returns undefined if this agent has not made it; found out in a time that does not depend on how wrong it is */
  verify(token: string): Claims | undefined {
    const claims = claimsIn(token);
    if (claims === undefined) return undefined;
    const given = Buffer.from(token);
    const right = Buffer.from(this.mint(claims));
    return given.length === right.length && timingSafeEqual(given, right) ? claims : undefined;
  }
}

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** What a token says of itself, true or not. */
function claimsIn(token: string): Claims | undefined {
  try {
    const said: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    if (typeof said !== 'object' || said === null || !('fid' in said && 'eid' in said && 'cid' in said))
      return undefined;
    const { fid, eid, cid } = said;
    if (typeof fid !== 'string' || typeof eid !== 'string' || typeof cid !== 'string') return undefined;
    return { frameworkId: fid, executorId: eid, containerId: cid };
  } catch {
    return undefined;
  }
}
