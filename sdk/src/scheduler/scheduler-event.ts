import { has, mesos } from '@mesobus/protos';
import { type InverseOffer, inverseOfferOf, Offer } from './offer.ts';
import { type OperationStatus, operationStatusOf, type TaskStatus, taskStatusOf } from './task-status.ts';

/** The master that leads. */
export interface MasterInfo {
  readonly id: string;
  readonly hostname: string;
  readonly version: string;
  readonly raw: mesos.v1.MasterInfo;
}

/** Whatever a scheduler is told. */
export type SchedulerEvent =
  /** For the first time, or (`reregistered`) again: after a disconnection, or with the id of before. */
  | {
      readonly kind: 'registered' | 'reregistered';
      readonly frameworkId: string;
      readonly master: MasterInfo | undefined;
    }
  /** Contact with the master is lost: the offers at hand are void, the tasks go on. It is sought again. */
  | { readonly kind: 'disconnected'; readonly why: string }
  | { readonly kind: 'offers'; readonly offers: readonly Offer[] }
  | { readonly kind: 'rescinded'; readonly offerId: string }
  | { readonly kind: 'inverse_offers'; readonly inverseOffers: readonly InverseOffer[] }
  | { readonly kind: 'inverse_offer_rescinded'; readonly inverseOfferId: string }
  | { readonly kind: 'update'; readonly status: TaskStatus }
  | { readonly kind: 'operation_update'; readonly status: OperationStatus }
  | { readonly kind: 'message'; readonly agentId: string; readonly executorId: string; readonly data: Uint8Array }
  | { readonly kind: 'agent_lost'; readonly agentId: string }
  | {
      readonly kind: 'executor_lost';
      readonly agentId: string;
      readonly executorId: string;
      /** The raw wait status of its process. */
      readonly status: number;
    }
  /** A callback threw, or the subscription has ended for good (then it is a `SchedulerEndedError`). */
  | { readonly kind: 'error'; readonly error: Error };

/** What one event of the wire says to the session or to the author. */
export type WireEvent =
  | { readonly kind: 'subscribed'; readonly master: MasterInfo | undefined }
  | { readonly kind: 'ended'; readonly message: string }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'tell'; readonly event: SchedulerEvent };

const types = mesos.v1.scheduler.Event.Type;
const nothing: WireEvent = { kind: 'nothing' };

/** Reads one event; an unknown or incomplete one says nothing, as a newer master may send it. */
export function readWireEvent(event: mesos.v1.scheduler.Event): WireEvent {
  if (event.type === types.SUBSCRIBED) return { kind: 'subscribed', master: masterOf(event.subscribed) };
  if (event.type === types.ERROR) return { kind: 'ended', message: event.error?.message ?? 'no reason was given' };
  const told = schedulerEventOf(event);
  return told === undefined ? nothing : { kind: 'tell', event: told };
}

function schedulerEventOf(event: mesos.v1.scheduler.Event): SchedulerEvent | undefined {
  const { offers, inverseOffers, rescind, rescindInverseOffer, update, updateOperationStatus, message, failure } =
    event;
  switch (event.type) {
    case types.OFFERS:
      return offers ? { kind: 'offers', offers: offers.offers.map((raw) => new Offer(raw)) } : undefined;
    case types.INVERSE_OFFERS:
      if (inverseOffers === null) return undefined;
      return { kind: 'inverse_offers', inverseOffers: inverseOffers.inverseOffers.map(inverseOfferOf) };
    case types.RESCIND:
      return rescind ? { kind: 'rescinded', offerId: rescind.offerId.value } : undefined;
    case types.RESCIND_INVERSE_OFFER:
      if (rescindInverseOffer === null) return undefined;
      return { kind: 'inverse_offer_rescinded', inverseOfferId: rescindInverseOffer.inverseOfferId.value };
    case types.UPDATE:
      return update ? { kind: 'update', status: taskStatusOf(update.status) } : undefined;
    case types.UPDATE_OPERATION_STATUS:
      if (updateOperationStatus === null) return undefined;
      return { kind: 'operation_update', status: operationStatusOf(updateOperationStatus.status) };
    case types.MESSAGE:
      return message ? { kind: 'message', ...idsOf(message), data: message.data } : undefined;
    case types.FAILURE:
      return failure ? failureOf(failure) : undefined;
    default:
      return undefined;
  }
}

function failureOf(failure: mesos.v1.scheduler.Event.Failure): SchedulerEvent | undefined {
  const { agentId, executorId, status } = failure;
  if (agentId === null) return undefined;
  if (executorId === null) return { kind: 'agent_lost', agentId: agentId.value };
  return { kind: 'executor_lost', ...idsOf({ agentId, executorId }), status };
}

function idsOf(ids: { agentId: mesos.v1.AgentID; executorId: mesos.v1.ExecutorID }) {
  return { agentId: ids.agentId.value, executorId: ids.executorId.value };
}

function masterOf(subscribed: mesos.v1.scheduler.Event.Subscribed | null): MasterInfo | undefined {
  const raw = subscribed?.masterInfo;
  if (!raw) return undefined;
  return { id: raw.id, hostname: has(raw, 'hostname') ? raw.hostname : '', version: raw.version, raw };
}
