import type { Label, Reservation, Resource, Resources } from '@mesobus/sdk/resources';

const maxLabels = 10_000;
const maxStacks = 1_000;
/** What an agent has, what of it is held and what of that is offered is told in one message. */
const maxRecent = 64;

/**
 * Makes equal parts of resources one object. Each message brings its own, and nearly all of them are alike: most labels
 * are on many agents, and what is held on an agent is what it has.
 */
export class Sharing {
  readonly #labels = new Map<string, Label>();
  readonly #stacks = new Map<string, readonly Reservation[]>();
  /** By key. */
  readonly #recent = new Map<string, Resource>();

  /** The same list, with as much room as it needs and no more. */
  share(list: Resources): Resources {
    return list.map((resource) => this.#resource(resource)) as readonly Resource[] as Resources;
  }

  #resource(resource: Resource): Resource {
    const known = this.#recent.get(resource.key);
    if (known !== undefined && isSame(known, resource)) return known;
    const { reservations } = resource;
    const shared = reservations === undefined ? resource : { ...resource, reservations: this.#stack(reservations) };
    if (this.#recent.size >= maxRecent) this.#recent.clear();
    this.#recent.set(shared.key, shared);
    return shared;
  }

  #stack(stack: readonly Reservation[]): readonly Reservation[] {
    let text = '';
    for (const { type, role, principal, labels = [] } of stack) {
      text += `${type}${textOf(role, principal)}${labels.length}`;
      for (const { key, value } of labels) text += textOf(key, value);
    }
    return remembered(this.#stacks, maxStacks, text, () =>
      stack.map(({ labels, ...rest }) => (labels ? { ...rest, labels: labels.map(this.#label) } : rest)),
    );
  }

  readonly #label = (label: Label): Label =>
    remembered(this.#labels, maxLabels, textOf(label.key, label.value), () => label);
}

/** No two pairs have the same. */
const textOf = (key: string, value: string | undefined): string =>
  value === undefined ? ` ${key.length} ${key}` : ` ${key.length} ${key}=${value.length} ${value}`;

/** What a text stands for, made if it is not remembered. Of more than `max` all are forgotten. */
export function remembered<T>(table: Map<string, T>, max: number, text: string, make: () => T): T {
  const known = table.get(text);
  if (known !== undefined) return known;
  const made = make();
  if (table.size >= max) table.clear();
  table.set(text, made);
  return made;
}

/** Of two with the same key: as much, and all that the key leaves out. */
function isSame(a: Resource, b: Resource): boolean {
  if (a.copies !== b.copies || a.kind !== b.kind) return false;
  if (a.kind === 'scalar' && b.kind === 'scalar' && !a.disk && !b.disk) return a.amount === b.amount;
  return JSON.stringify([amountsOf(a), a.disk]) === JSON.stringify([amountsOf(b), b.disk]);
}

const amountsOf = (resource: Resource): unknown =>
  resource.kind === 'scalar' ? resource.amount : resource.kind === 'ranges' ? resource.ranges : resource.items;
