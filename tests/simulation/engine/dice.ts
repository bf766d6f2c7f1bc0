/** Random numbers from a seed, the same ones each time: sfc32. */
export class Dice {
  readonly #name: string;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param name - any text; another text gives other numbers */
  constructor(name: string) {
    this.#name = name;
    [this.#a, this.#b, this.#c] = [hashOf(name, 0x811c9dc5), hashOf(name, 0x2545f491), hashOf(name, 0x9e3779b9)];
    for (let round = 0; round < 12; round += 1) this.#word();
  }

  /** Dice of their own for a part of the world: what one part throws changes nothing in another. */
  fork(name: string): Dice {
    return new Dice(`${this.#name}/${name}`);
  }

  /** From 0 to 1, as Math.random; a function, so that it can be handed on. */
  readonly random = (): number => this.#word() / 4_294_967_296;

  /** From 0 to below `end`. */
  below(end: number): number {
    return Math.floor(this.random() * end);
  }

  between(low: number, high: number): number {
    return low + this.random() * (high - low);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.#word() & 0xff);
  }

  uuid(): `${string}-${string}-${string}-${string}-${string}` {
    const hex = Buffer.from(this.bytes(16)).toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
  }

  #word(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }
}

function hashOf(text: string, start: number): number {
  let hash = start;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash | 0;
}
