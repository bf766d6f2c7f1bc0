/**
 * Every way in which Mesobus refuses something, in one place: what was attempted, and what to do about it.
 * The code is stable and travels in `mesobus.v1.Refusal`; match on it, never on the message.
 */
const refusals = {
  malformed_message: ['read the message', 'send a protobuf of the type that the subject expects'],
  malformed_resources: ['read the resources', 'write them like cpus:4;mem:8192;ports:[31000-32000]'],
  malformed_attributes: ['read the attributes', 'write them like rack:abc;level:10;keys:[1000-1500]'],
  message_too_large: ['send the message', 'ask for less at once, or raise max_payload of the NATS server'],
  protocol_too_new: ['understand the sender', 'upgrade this side before that one'],
  parts_missing: ['put the message together', 'send all its parts again'],
  superseded_master: ['obey the master', 'a newer one leads; it will be heard'],
  call_invalid: ['carry out the call', 'correct the call'],
  framework_unknown: ['find the framework', 'subscribe first; a removed framework must subscribe as a new one'],
  not_subscribed: ['take the call', 'subscribe to this master first, so that its outcome can be told; then ask again'],
  framework_removed: ['subscribe the framework', 'its id is used up; subscribe without an id as a new framework'],
  framework_not_yours: ['act for the framework', 'use the principal that subscribed it'],
  instance_superseded: ['act for the framework', 'another scheduler has subscribed with this id; stop this one'],
  not_authorized: ['carry out the call', 'ask the operator for the permission'],
  agent_unknown: ['find the agent', 'list the agents to see their ids; an agent itself registers again'],
  resources_in_use: ['convert resources of agent', 'wait for the end of the tasks that hold them, or kill them'],
  agent_gone: ['register the agent', 'it was marked gone; wipe its work directory so that it joins as a new one'],
  machine_down: ['register the agent', 'end the maintenance of its machine first; it then joins as a new one'],
  incarnation_superseded: ['obey as this agent', 'a newer process runs under the same identity; stop this one'],
  offer_unknown: ['accept the offer', 'it was rescinded, expired or answered; wait for the next one'],
  path_forbidden: ['open the file', 'ask for a path inside a sandbox'],
  path_unknown: ['find the file', 'list its folder to see what is there'],
  session_unknown: ['go on with the session', 'it has ended, or its agent was started again; start another one'],
  not_running: ['enter the container of task', 'it does not run; look what has become of it with its status'],
  index_not_reached: ['read at the log index', 'ask again: the reader is still behind'],
  outcome_unknown: ['learn whether the change was written', 'ask again with the same call id'],
  not_leading: ['act as the master', 'ask again: another master is taking over'],
  overloaded: ['take the request', 'wait a little and ask again'],
  failed: ['carry out the request', 'the log of the service says why; if it persists, report it'],
} as const;

export type RefusalCode = keyof typeof refusals;

/** Refusals after which the same request may be sent again as it is. */
const transient: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  'parts_missing',
  'index_not_reached',
  'outcome_unknown',
  'not_leading',
  'not_subscribed',
  'overloaded',
]);

export const isRefusalCode = (code: string): code is RefusalCode => Object.hasOwn(refusals, code);

/** Says a refusal to people: what, to what, why, what to do. */
export function refusalMessage(code: RefusalCode, subject: string, why?: string): string {
  const [what, next] = refusals[code];
  return `Cannot ${what} '${subject}': ${why === undefined ? '' : `${why}; `}${next}`;
}

/** A service refused a request. `code` is stable; `subject` is what the refusal is about. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly code: RefusalCode;
  readonly subject: string;

  /** @param why - the particular reason, put before the general advice */
  constructor(code: RefusalCode, subject: string, why?: string, options?: ErrorOptions) {
    super(refusalMessage(code, subject, why), options);
    this.code = code;
    this.subject = subject;
  }

  /** The same request may succeed later as it is. */
  get transient(): boolean {
    return transient.has(this.code);
  }

  /** Rebuilds what another process refused; an unknown code (of a newer version) becomes `failed`. */
  static received(refusal: { code: string; subject: string; message: string }): RefusedError {
    const error = new RefusedError(isRefusalCode(refusal.code) ? refusal.code : 'failed', refusal.subject);
    error.message = refusal.message;
    return error;
  }
}

/** Nobody serves the subject now: the service is down or between two leaders. */
export class NoRespondersError extends Error {
  override readonly name = 'NoRespondersError';
  readonly subject: string;
  constructor(subject: string, options?: ErrorOptions) {
    super(
      `Cannot reach '${subject}': nobody serves it at the moment; check that the service runs, then ask again`,
      options,
    );
    this.subject = subject;
  }
}

/** No answer came in time. The request may have been carried out. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
  readonly subject: string;
  constructor(subject: string, timeoutMs: number, options?: ErrorOptions) {
    super(
      `No answer from '${subject}' within ${Math.round(timeoutMs)} ms: ask again; what changes something may have been carried out, so repeat it under the same id`,
      options,
    );
    this.subject = subject;
  }
}

/** The bus is closed, or not connected where waiting makes no sense. */
export class DisconnectedError extends Error {
  override readonly name = 'DisconnectedError';
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

/** Our own books do not balance: a bug of ours, never somebody else's input. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** Asserts what our own state promises, also in production. Never use it on what others send. */
export function invariant(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
