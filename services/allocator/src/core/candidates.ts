import type { Random } from './random.ts';
import type { Agent } from './state.ts';

/** A set of agents from which any number can be drawn by lot, at a cost that does not depend on how many there are. */
export class Candidates {
  readonly #agents: Agent[] = [];

  get size(): number {
    return this.#agents.length;
  }

  add(agent: Agent): void {
    if (agent.candidate >= 0) return;
    agent.candidate = this.#agents.length;
    this.#agents.push(agent);
  }

  delete(agent: Agent): void {
    const place = agent.candidate;
    if (place < 0) return;
    agent.candidate = -1;
    const last = this.#agents.pop() as Agent;
    if (last === agent) return;
    this.#agents[place] = last;
    last.candidate = place;
  }

  /** Takes as many out, in random order. */
  draw(count: number, random: Random): Agent[] {
    const drawn: Agent[] = [];
    while (drawn.length < count && this.#agents.length > 0) {
      const agent = this.#agents[random.below(this.#agents.length)] as Agent;
      this.delete(agent);
      drawn.push(agent);
    }
    return drawn;
  }

  [Symbol.iterator](): Iterator<Agent> {
    return this.#agents[Symbol.iterator]();
  }
}
