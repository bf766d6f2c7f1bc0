import { encode, mesobus } from '@mesobus/protos';
import type { Clock } from '@mesobus/sdk/bus';
import { claimKey } from '../core/snapshot-keys.ts';
import { tryDecode } from '../core/try-decode.ts';
import type { SnapshotStore } from './snapshot-store.ts';

/** Another registry goes on with it. */
export class ClaimLostError extends Error {
  override readonly name = 'ClaimLostError';
}

/** Who holds the claim says so again so often. */
const beatEveryMs = 5_000;
/** A claim that has not changed for so long, by the clock of whoever looks, has no holder any more. */
const defaultClaimExpiresMs = 30_000;

/**
 * The right to write under the number of a generation, one registry at a time. It keeps two from doing the same work;
 * nothing is wrong if they do, since each generation is written under a number of its own.
 */
export class SnapshotClaims {
  readonly #snapshots: SnapshotStore;
  readonly #clock: Clock;
  readonly #registryId: string;
  readonly #expiresMs: number;
  #seen: { revision: number; at: number } | undefined;

  constructor(snapshots: SnapshotStore, clock: Clock, registryId: string, expiresMs: number = defaultClaimExpiresMs) {
    this.#snapshots = snapshots;
    this.#clock = clock;
    this.#registryId = registryId;
    this.#expiresMs = expiresMs;
  }

  /**
   * @param above - the highest generation of which anything stands
   * @returns undefined if another has it, or has just got it
   */
  async claim(above: number): Promise<Claim | undefined> {
    const value = await this.#snapshots.get(claimKey);
    const before = value && tryDecode(mesobus.v1.SnapshotClaim, value.bytes);
    const revision = value?.revision ?? 0;
    const isFree = before === undefined || before.registryId === '' || before.registryId === this.#registryId;
    if (!isFree && !this.#hasExpired(revision)) return undefined;
    const generation = Math.max(before?.generation ?? 0, above) + 1;
    const claim = new Claim(this.#snapshots, this.#clock, this.#registryId, generation);
    return (await claim.begin(revision)) ? claim : undefined;
  }

  #hasExpired(revision: number): boolean {
    const at = this.#clock.now();
    if (this.#seen?.revision !== revision) this.#seen = { revision, at };
    return at - this.#seen.at >= this.#expiresMs;
  }
}

export class Claim {
  readonly generation: number;
  readonly #snapshots: SnapshotStore;
  readonly #clock: Clock;
  readonly #registryId: string;
  #revision = 0;
  #beat = 0;
  #saidAt = 0;

  constructor(snapshots: SnapshotStore, clock: Clock, registryId: string, generation: number) {
    this.#snapshots = snapshots;
    this.#clock = clock;
    this.#registryId = registryId;
    this.generation = generation;
  }

  /** After an unknown outcome the next round finds who has it. */
  async begin(revision: number): Promise<boolean> {
    this.#revision = revision;
    return (await this.#write(this.#registryId)) === 'appended';
  }

  /**
   * Says that it is still held, if that is due.
   *
   * @param options.now - whenever it was said last
   * @throws {ClaimLostError} it is not
   */
  async renew({ now = false }: { readonly now?: boolean } = {}): Promise<void> {
    if (!now && this.#clock.now() < this.#saidAt + beatEveryMs) return;
    const outcome = await this.#write(this.#registryId);
    if (outcome === 'appended') return;
    const value = await this.#snapshots.get(claimKey);
    const record = value && tryDecode(mesobus.v1.SnapshotClaim, value.bytes);
    if (record?.registryId !== this.#registryId || record.generation !== this.generation) {
      throw new ClaimLostError(`another registry has taken over: ${record?.registryId ?? 'nobody'} has the claim`);
    }
    this.#revision = value?.revision ?? 0;
  }

  /** So that another need not wait for its end. */
  async release(): Promise<void> {
    await this.#write('');
  }

  async #write(registryId: string): Promise<'appended' | 'refused' | 'unknown'> {
    this.#saidAt = this.#clock.now();
    const record = { generation: this.generation, registryId, beat: this.#beat++ };
    const outcome = await this.#snapshots.update(claimKey, encode(mesobus.v1.SnapshotClaim, record), this.#revision);
    if (outcome.kind === 'appended') this.#revision = outcome.sequence;
    return outcome.kind;
  }
}
