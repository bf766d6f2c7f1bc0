/** Ctrl-P, and after it Ctrl-Q. */
const first = 0x10;
const second = 0x11;

/** Finds the keys that leave a task, also where they come one by one; everything else goes on as it came. */
export class DetachKeys {
  #held = false;

  /** @returns what is to be passed on; whether the keys were there, behind it */
  take(typed: Uint8Array): { readonly data: Uint8Array; readonly detached: boolean } {
    const data: number[] = [];
    for (const byte of typed) {
      if (this.#held && byte === second) return { data: Uint8Array.from(data), detached: true };
      if (this.#held) data.push(first);
      this.#held = byte === first;
      if (!this.#held) data.push(byte);
    }
    return { data: Uint8Array.from(data), detached: false };
  }
}
