import { decode, encode, mesobus } from '@mesobus/protos';
import { RefusedError } from '../errors.ts';
import { type Epoch, protocolVersion } from './bus.ts';
import type { StreamPosition } from './ordered-stream.ts';

const { Envelope } = mesobus.v1;

/** A message is at most so large as a whole, in bytes. */
export const defaultMaxMessageBytes: number = 64 * 1024 * 1024;
/** No frame may be configured smaller: room for what an envelope says beside the body. Bytes. */
export const minFrameBytes = 512;

/** A refusal as it travels. */
export interface WireRefusal {
  readonly code: string;
  readonly subject: string;
  readonly message: string;
}

/** What one envelope, or several parts of one, say together. A beat has neither body nor refusal. */
export interface Message {
  readonly epoch: Epoch;
  readonly body?: Uint8Array;
  readonly refusal?: WireRefusal;
  readonly position?: StreamPosition;
  /** How long the requester waits, ms; 0 if it did not say. */
  readonly timeoutMs: number;
}

export interface PackOptions {
  readonly maxFrameBytes: number;
  readonly maxMessageBytes: number;
  /** Where it goes, for errors. */
  readonly subject: string;
  /** Asked once if the message needs parts: an id that no message of any sender had before; at most 64 characters. */
  readonly newMessageId: () => string;
}

/** A refusal's texts are cut here, in characters, so that every refusal fits into a frame. */
const maxRefusalText = 4096;
const maxIdLength = 128;
/** Tags, lengths and numbers of an envelope without its strings and its body: at most so many bytes. */
const fixedBytes = 96;

/**
 * Puts a message into frames: one if it fits, else parts to be sent in order.
 *
 * @throws {RefusedError} message_too_large
 */
export function pack(message: Message, options: PackOptions): Uint8Array[] {
  const { body } = message;
  if (body === undefined) return [frameOf(message, undefined, options)];
  checkSize(body, options);
  const room = roomForBody(message, options.maxFrameBytes, 0);
  return body.length <= room ? [frameOf(message, body, options)] : packParts(message, body, options);
}

/** @throws {RefusedError} message_too_large */
export function checkSize(
  { length }: Uint8Array,
  { maxMessageBytes, subject }: Pick<PackOptions, 'maxMessageBytes' | 'subject'>,
): void {
  if (length <= maxMessageBytes) return;
  const why = `it has ${length} bytes and ${maxMessageBytes} are allowed`;
  throw new RefusedError('message_too_large', subject, why);
}

function packParts(message: Message, body: Uint8Array, options: PackOptions): Uint8Array[] {
  const messageId = options.newMessageId();
  const room = roomForBody(message, options.maxFrameBytes, messageId.length);
  const count = Math.ceil(body.length / room);
  return Array.from({ length: count }, (_, index) =>
    frameOf(message, body.subarray(index * room, (index + 1) * room), options, { messageId, index, count }),
  );
}

function roomForBody(message: Message, maxFrameBytes: number, idLength: number): number {
  // Ids and stream names are ours and ASCII.
  return Math.max(maxFrameBytes, minFrameBytes) - fixedBytes - idLength - (message.position?.stream.length ?? 0);
}

function frameOf(
  { epoch, refusal, position, timeoutMs }: Message,
  body: Uint8Array | undefined,
  options: PackOptions,
  part?: { messageId: string; index: number; count: number },
): Uint8Array {
  const envelope: mesobus.v1.Envelope.$Properties = { protocolVersion, timeoutMs };
  if (epoch.epoch !== 0) envelope.epoch = epoch.epoch;
  if (epoch.incarnation !== 0) envelope.clusterIncarnation = epoch.incarnation;
  if (body !== undefined) envelope.body = body;
  if (refusal !== undefined) envelope.refusal = cut(refusal, options.maxFrameBytes);
  if (part !== undefined) envelope.part = part;
  if (position !== undefined) envelope.position = position;
  return encode(Envelope, envelope);
}

function cut({ code, subject, message }: WireRefusal, maxFrameBytes: number): WireRefusal {
  // A character takes at most 3 bytes in UTF-8 per unit of UTF-16.
  const room = Math.min(maxRefusalText, Math.floor((Math.max(maxFrameBytes, minFrameBytes) - fixedBytes - 64) / 6));
  const short = (text: string) => (text.length <= room ? text : `${text.slice(0, room - 1)}…`);
  return { code, subject: short(subject), message: short(message) };
}

export interface ReassemblyLimits {
  readonly maxMessageBytes: number;
  /** Messages of which some parts are there, per receiver and subject; the oldest is dropped for one more. */
  readonly maxOpenPerSubject: number;
  /** Bytes held of all of them, with a charge per part; the oldest are dropped for more. */
  readonly maxOpenBytes: number;
  /** A message whose parts have not come together for so long is dropped, ms. */
  readonly maxAgeMs: number;
}

const defaultLimits: ReassemblyLimits = {
  maxMessageBytes: defaultMaxMessageBytes,
  maxOpenPerSubject: 8,
  maxOpenBytes: 2 * defaultMaxMessageBytes,
  maxAgeMs: 30_000,
};

/** What came of a frame. */
export type Unpacked =
  | { readonly kind: 'whole'; readonly message: Message }
  /** Parts are still missing. `forget` drops those that are there. */
  | { readonly kind: 'waiting'; readonly have: number; readonly count: number; readonly forget: () => void }
  | { readonly kind: 'refused'; readonly error: RefusedError };

interface OpenMessage {
  /** Receiver and subject. */
  readonly key: string;
  readonly messageId: string;
  readonly count: number;
  readonly startedAt: number;
  readonly parts: Map<number, Uint8Array>;
  bodyBytes: number;
}

/** Held for a part beside its bytes: many tiny parts must not escape the bound. */
const bytesPerPart = 256;

/** Takes frames apart and puts parts together, within bounds; what does not decode is refused. */
export class Unpacker {
  readonly #limits: ReassemblyLimits;
  /** The same messages in two orders: all from the oldest on, and by key. */
  readonly #open = new Set<OpenMessage>();
  readonly #byKey = new Map<string, Map<string, OpenMessage>>();
  #openBytes = 0;

  constructor(limits: Partial<ReassemblyLimits> = {}) {
    this.#limits = { ...defaultLimits, ...limits };
  }

  /** Messages of which some parts are there. */
  get openMessages(): number {
    return this.#open.size;
  }

  /** Bytes held of them, with the charge per part. */
  get openBytes(): number {
    return this.#openBytes;
  }

  /**
   * @param subject - what the frame came on; parts come together per receiver and subject
   * @param at - now, ms
   * @param receiver - tells apart who gets copies of the same frames but shares the bounds; without spaces
   */
  unpack(subject: string, frame: Uint8Array, at: number, receiver = ''): Unpacked {
    let envelope: mesobus.v1.Envelope;
    try {
      envelope = decode(Envelope, frame, { views: true }); // the body is read at once, or copied below
    } catch (error) {
      return refused('malformed_message', subject, (error as Error).message);
    }
    if (envelope.protocolVersion > protocolVersion) {
      const why = `it speaks protocol ${envelope.protocolVersion} and this side knows up to ${protocolVersion}`;
      return refused('protocol_too_new', subject, why);
    }
    const fault = findFault(envelope);
    if (fault !== undefined) return refused('malformed_message', subject, fault);
    const { part } = envelope;
    if (part === null) return whole(envelope, envelope.body ?? undefined);
    return this.#addPart(subject, `${receiver} ${subject}`, envelope, part, at);
  }

  #addPart(subject: string, key: string, envelope: mesobus.v1.Envelope, part: mesobus.v1.Part, at: number): Unpacked {
    const body = envelope.body as Uint8Array;
    this.#dropAged(at);
    const open = this.#byKey.get(key)?.get(part.messageId) ?? this.#openMessage(key, part, at);
    if (open.count !== part.count) {
      this.#close(open);
      return refused('malformed_message', subject, `its parts say ${open.count} and ${part.count} parts`);
    }
    if (!open.parts.has(part.index)) {
      if (open.bodyBytes + body.length > this.#limits.maxMessageBytes) {
        this.#close(open);
        return refused('message_too_large', subject, `its parts exceed ${this.#limits.maxMessageBytes} bytes`);
      }
      open.parts.set(part.index, new Uint8Array(body)); // a view would hold on to more than is counted
      open.bodyBytes += body.length;
      this.#openBytes += body.length + bytesPerPart;
    }
    if (open.parts.size === open.count) {
      this.#close(open);
      return whole(envelope, join(open));
    }
    this.#dropOverflow();
    return { kind: 'waiting', have: open.parts.size, count: open.count, forget: () => this.#close(open) };
  }

  #openMessage(key: string, { messageId, count }: mesobus.v1.Part, at: number): OpenMessage {
    const open = { key, messageId, count, startedAt: at, parts: new Map<number, Uint8Array>(), bodyBytes: 0 };
    let ofKey = this.#byKey.get(key);
    if (ofKey === undefined) {
      ofKey = new Map();
      this.#byKey.set(key, ofKey);
    }
    for (const oldest of ofKey.values()) {
      if (ofKey.size < this.#limits.maxOpenPerSubject) break;
      this.#close(oldest);
    }
    this.#byKey.set(key, ofKey); // closing the last one has removed it
    ofKey.set(messageId, open);
    this.#open.add(open);
    return open;
  }

  #close(open: OpenMessage): void {
    if (!this.#open.delete(open)) return;
    this.#openBytes -= open.bodyBytes + open.parts.size * bytesPerPart;
    const ofKey = this.#byKey.get(open.key);
    ofKey?.delete(open.messageId);
    if (ofKey?.size === 0) this.#byKey.delete(open.key);
  }

  #dropAged(at: number): void {
    for (const open of this.#open) {
      if (at - open.startedAt < this.#limits.maxAgeMs) return;
      this.#close(open);
    }
  }

  #dropOverflow(): void {
    for (const open of this.#open) {
      if (this.#openBytes <= this.#limits.maxOpenBytes) return;
      this.#close(open);
    }
  }
}

function findFault({ protocolVersion, part, position, body }: mesobus.v1.Envelope): string | undefined {
  if (protocolVersion === 0) return 'it is no envelope: the protocol version is missing';
  if (position !== null && (position.stream === '' || position.number < 1)) {
    return 'its position in a stream has no name or no number';
  }
  if (part === null) return undefined;
  if (body === null) return 'a part of it has no body';
  if (part.index >= part.count) return `part ${part.index} of ${part.count} cannot be`;
  if (part.messageId === '' || part.messageId.length > maxIdLength) {
    return `the message id of a part must have 1 to ${maxIdLength} characters`;
  }
  return undefined;
}

function refused(code: 'malformed_message' | 'protocol_too_new' | 'message_too_large', subject: string, why: string) {
  return { kind: 'refused', error: new RefusedError(code, subject, why) } as const;
}

function whole({ epoch, clusterIncarnation, refusal, position, timeoutMs }: mesobus.v1.Envelope, body?: Uint8Array) {
  const message: Message = {
    epoch: { incarnation: clusterIncarnation, epoch },
    timeoutMs,
    ...(body === undefined ? {} : { body }),
    ...(refusal === null ? {} : { refusal }),
    ...(position === null ? {} : { position }),
  };
  return { kind: 'whole', message } as const;
}

function join(open: OpenMessage): Uint8Array {
  const body = new Uint8Array(open.bodyBytes);
  let at = 0;
  for (let index = 0; index < open.count; index += 1) {
    const part = open.parts.get(index) as Uint8Array;
    body.set(part, at);
    at += part.length;
  }
  return body;
}
