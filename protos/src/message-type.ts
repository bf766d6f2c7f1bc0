import { descriptor } from '#descriptor';
import * as roots from '#messages';
import type { FieldDescriptor } from './descriptor.ts';
import type { Reader, Writer } from './wire.ts';

/**
 * A generated message class, such as `mesos.v1.TaskInfo`.
 *
 * @typeParam T - what decoding gives: an instance of the class
 * @typeParam P - what encoding takes: an instance or a plain object, `mesos.v1.TaskInfo.$Properties`
 */
export interface MessageType<T extends object, P extends object = object> {
  new (properties?: never): T;
  encode(message: P, writer?: Writer): Writer;
  decode(reader: Reader | Uint8Array, length?: number): T;
}

/** What is known of a message type beside its class. */
export interface MessageInfo {
  /** The full name, such as `mesos.v1.Offer.Operation`. */
  readonly name: string;
  readonly type: MessageType<object>;
  readonly fields: readonly FieldDescriptor[];
}

const byName = new Map<string, MessageInfo>();
const byType = new Map<unknown, MessageInfo>();
for (const [name, fields] of Object.entries(descriptor.messages)) {
  const type = name.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown>)[part], roots);
  const info: MessageInfo = { name, type: type as MessageType<object>, fields };
  byName.set(name, info);
  byType.set(type, info);
}

/**
 * What is known of a generated class.
 *
 * @throws {TypeError} if `type` is not a generated message class
 */
export function infoOf(type: object): MessageInfo {
  const info = byType.get(type);
  if (info === undefined)
    throw new TypeError(`${String(type)} is not a generated message class, such as mesos.v1.Offer`);
  return info;
}

/**
 * What is known of the message with this full name.
 *
 * @throws {TypeError} if there is no such message
 */
export function infoNamed(name: string): MessageInfo {
  const info = byName.get(name);
  if (info === undefined) throw new TypeError(`There is no message '${name}'`);
  return info;
}

/** Every message by full name, in the order of the .proto files. */
export function allMessages(): readonly MessageInfo[] {
  return [...byName.values()];
}
