import type { mesos } from '@mesobus/protos';
import {
  type Amounts,
  type Attribute,
  attributesFromWire,
  contains,
  fromWire,
  type Resources,
  type ResourcesInput,
  readAmounts,
  toResources,
  unallocate,
} from '../resources/index.ts';

/** Resources of one agent, held for this framework until it answers or they are rescinded. */
export class Offer {
  /** As Mesos has it. */
  readonly raw: mesos.v1.Offer;
  #resources: Resources | undefined;
  #amounts: Amounts | undefined;

  constructor(raw: mesos.v1.Offer) {
    this.raw = raw;
  }

  get id(): string {
    return this.raw.id.value;
  }

  get agentId(): string {
    return this.raw.agentId.value;
  }

  get hostname(): string {
    return this.raw.hostname;
  }

  get frameworkId(): string {
    return this.raw.frameworkId.value;
  }

  /** The role of the framework that the resources are accounted to. */
  get role(): string {
    return this.raw.allocationInfo?.role ?? '*';
  }

  /** What is offered, for the resource algebra of `@mesobus/sdk/resources`. */
  get resources(): Resources {
    this.#resources ??= unallocate(fromWire(this.raw.resources));
    return this.#resources;
  }

  /** What is offered, for reading: `offer.amounts.cpus`. In Mesos units; reserved or not. */
  get amounts(): Amounts {
    this.#amounts ??= readAmounts(this.resources);
    return this.#amounts;
  }

  get attributes(): Attribute[] {
    return attributesFromWire(this.raw.attributes);
  }

  /** Executors of this framework that already run on the agent. */
  get executorIds(): string[] {
    return this.raw.executorIds.map(({ value }) => value);
  }

  /** When the agent goes into maintenance, if that is planned. */
  get unavailableFrom(): Date | undefined {
    return timeOf(this.raw.unavailability?.start);
  }

  /** Whether all of this is in the offer, reserved the same way: plain amounts ask for unreserved resources. */
  holds(wanted: ResourcesInput): boolean {
    return contains(this.resources, toResources(wanted));
  }
}

/**
 * A request to give resources of an agent back: ahead of its maintenance, or because others are entitled to what tasks hold
 * that are revocable or labelled `mesobus.preemptible=true`.
 */
export interface InverseOffer {
  readonly id: string;
  /** Absent if it is about every agent. */
  readonly agentId?: string;
  /** What is asked back, or else is taken from tasks that still run then; absent if it is all that the agent has. */
  readonly resources?: Resources;
  readonly unavailableFrom: Date;
  /** Absent if the end is not known. */
  readonly unavailableForMs?: number;
  readonly raw: mesos.v1.InverseOffer;
}

export function inverseOfferOf(raw: mesos.v1.InverseOffer): InverseOffer {
  const { start, duration } = raw.unavailability;
  return {
    id: raw.id.value,
    ...(raw.agentId !== null && { agentId: raw.agentId.value }),
    ...(raw.resources.length > 0 && { resources: unallocate(fromWire(raw.resources)) }),
    unavailableFrom: timeOf(start) ?? new Date(0),
    ...(duration !== null && { unavailableForMs: Number(duration.nanoseconds / 1_000_000n) }),
    raw,
  };
}

function timeOf(time: mesos.v1.TimeInfo | null | undefined): Date | undefined {
  return time ? new Date(Number(time.nanoseconds / 1_000_000n)) : undefined;
}
