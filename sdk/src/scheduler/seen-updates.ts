/** So many updates are remembered; one that comes again after that is handed over again. */
const maxSeen = 65_536;

/** Which updates the author has had: an agent repeats each until it hears the acknowledgement. */
export class SeenUpdates {
  readonly #seen = new Map<string, 'delivered' | 'acknowledged'>();

  stateOf(uuid: string): 'delivered' | 'acknowledged' | undefined {
    return this.#seen.get(uuid);
  }

  set(uuid: string, state: 'delivered' | 'acknowledged'): void {
    this.#seen.delete(uuid); // the newest stand last
    this.#seen.set(uuid, state);
    if (this.#seen.size <= maxSeen) return;
    const [oldest] = this.#seen.keys();
    if (oldest !== undefined) this.#seen.delete(oldest);
  }

  forget(uuid: string): void {
    this.#seen.delete(uuid);
  }
}
