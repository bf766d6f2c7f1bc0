import type { mesobus } from '@mesobus/protos';
import { RefusedError } from '../errors.ts';

type Demand = mesobus.v1.Demand.$Properties;
type Roles = NonNullable<Demand['roles']>;

export interface DemandSource {
  /** What is wanted now; undefined if the author does not say. */
  readonly read: () => Roles | undefined;
  /** Sends what `say` gives then, until it is answered. */
  readonly send: (say: () => Demand) => Promise<unknown>;
  /** It could not be read, or the leader refuses it. */
  readonly onError: (error: Error) => void;
}

/**
 * Keeps the leader informed of what the author wants. At most one call is under way; it says what is wanted when it is
 * sent, so that what changes meanwhile is said once. Each has a higher number: one that is late is not heard.
 */
export class DemandTeller {
  readonly #source: DemandSource;
  #number = 0;
  /** What the leader knows, as text. */
  #known: string | undefined;
  /** What was said last. */
  #said: string | undefined;
  #telling = false;
  /** Counts the subscriptions. */
  #subscription = 0;
  /** The last problem that the author was told of. */
  #problem = '';

  constructor(source: DemandSource) {
    this.#source = source;
  }

  /** What goes with SUBSCRIBE: from its first moment on the framework is offered nothing else. */
  current(): Demand | undefined {
    const roles = this.#read();
    return roles === undefined ? undefined : this.#say(roles);
  }

  /** The subscription is a new one: of the one before nothing is known. */
  startAnew(): void {
    this.#subscription += 1;
    this.#known = undefined;
    this.check();
  }

  /** Tells the leader if something else is wanted than it knows. */
  check(): void {
    if (this.#telling) return; // what changes is seen when it is sent, or when its answer is here
    const roles = this.#read();
    if (roles !== undefined && textOf(roles) !== this.#known) void this.#tell(roles);
  }

  async #tell(roles: Roles): Promise<void> {
    const subscription = this.#subscription;
    this.#telling = true;
    try {
      await this.#source.send(() => this.#say(this.#read() ?? roles));
      this.#known = subscription === this.#subscription ? this.#said : undefined;
    } catch (error) {
      const again = error instanceof RefusedError && error.transient;
      this.#known = again ? undefined : this.#said;
      this.#report(error as Error);
      return;
    } finally {
      this.#telling = false;
    }
    this.check();
  }

  #say(roles: Roles): Demand {
    this.#number += 1;
    this.#said = textOf(roles);
    return { number: this.#number, roles };
  }

  #read(): Roles | undefined {
    try {
      return this.#source.read();
    } catch (error) {
      this.#report(error as Error);
      return undefined;
    }
  }

  /** Once, not whenever it is looked at. */
  #report(error: Error): void {
    if (error.message === this.#problem) return;
    this.#problem = error.message;
    this.#source.onError(error);
  }
}

const textOf = (roles: Roles): string => JSON.stringify(roles);
