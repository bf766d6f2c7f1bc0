import type { FieldDescriptor } from './descriptor.ts';
import { infoNamed, infoOf, type MessageInfo, type MessageType } from './message-type.ts';
import { Reader, Writer } from './wire.ts';

/** The bytes are not a message of the type: cut short, not protobuf, or lacking a required field. */
export class MalformedMessageError extends Error {
  override readonly name = 'MalformedMessageError';
  /** The full name of the type that was asked for. */
  readonly type: string;
  /** What is wrong. */
  readonly reason: string;
  /** How many bytes there were. */
  readonly byteLength: number;

  constructor(type: string, byteLength: number, reason: string, options?: ErrorOptions) {
    super(`Cannot decode ${type} from ${byteLength} bytes: ${reason}`, options);
    this.type = type;
    this.reason = reason;
    this.byteLength = byteLength;
  }
}

/** A buffer that grew beyond this is not kept for the next message. Bytes. */
const maxKeptBuffer = 1 << 20;
let writer = Writer.create();

/**
 * Encodes a message, given as an instance of its class or as a plain object.
 *
 * @returns bytes that nobody else holds
 * @throws {TypeError} if a required field is missing or a value is not of its field's type; the message has its path
 */
export function encode<T extends object, P extends object>(type: MessageType<T, P>, value: NoInfer<P>): Uint8Array {
  try {
    const bytes = type.encode(value, writer).finish();
    if (writer.buf.length > maxKeptBuffer) writer = Writer.create();
    else writer.reset();
    return bytes;
  } catch (error) {
    writer = Writer.create(); // the old one may stand inside a nested message
    const info = infoOf(type);
    throw new TypeError(`Cannot encode ${info.name}: ${whyNot(info, value, error)}`, { cause: error });
  }
}

export interface DecodeOptions {
  readonly keepUnknown?: boolean;
  readonly views?: boolean;
}

/**
 * Decodes a message.
 *
 * A field that is not set reads as its default (a message as null, a repeated field as an empty array); `has` tells a
 * default from a value. Fields that the type does not know are dropped, unless `keepUnknown` is set: then they are
 * written again when the message is encoded, after those that it knows; a copy made with `...` loses them.
 * An enum number without a name stays a number, also when encoded again. With `views`, fields of bytes are not copied:
 * they hold on to the bytes that were given, and change with them.
 *
 * @throws {MalformedMessageError} if the bytes are not a message of this type
 */
export function decode<T extends object>(
  type: MessageType<T, never>,
  bytes: Uint8Array,
  { keepUnknown = false, views = false }: DecodeOptions = {},
): T {
  const reader = Reader.create(bytes);
  reader.views = views;
  reader.discardUnknown = !keepUnknown;
  try {
    return type.decode(reader);
  } catch (error) {
    throw new MalformedMessageError(infoOf(type).name, bytes.length, decodeReason(error), { cause: error });
  }
}

/** The encoded fields of a message itself that its type does not know; none unless decoded with `keepUnknown`. */
export function unknownFields(message: object): readonly Uint8Array[] {
  return Object.hasOwn(message, '$unknowns') ? (message as { $unknowns: Uint8Array[] }).$unknowns : [];
}

/** The same properties and, when they are encoded, fields that their type does not know after them. */
export function withUnknown<P extends object>(properties: P, fields: readonly Uint8Array[]): P {
  return fields.length === 0 ? properties : { ...properties, $unknowns: fields };
}

/**
 * Whether a field is set: a default value that was sent counts, one that was not does not.
 * A repeated field or a map is set if it is not empty.
 */
export function has<T extends object>(message: T, field: keyof T & string): boolean {
  if (!Object.hasOwn(message, field)) return false;
  const value: unknown = message[field];
  if (value === null || value === undefined) return false;
  if (Array.isArray(value)) return value.length > 0;
  return typeof value !== 'object' || Object.keys(value).length > 0 || !isMap(message, field);
}

function isMap(message: object, property: string): boolean {
  const { fields } = infoOf(message.constructor);
  return fields.some((field) => field.property === property && field.rule === 'map');
}

function decodeReason(error: unknown): string {
  const { message, instance } = error as { message: string; instance?: object };
  if (instance !== undefined) {
    const info = infoOf(instance.constructor);
    const field = info.fields.find(({ property }) => message.includes(`'${property}'`));
    return `the required field '${field?.name}' of ${info.name} is missing`;
  }
  if (message.startsWith('index out of range')) return `they end inside a field or are not protobuf (${message})`;
  return `they are not protobuf (${message})`;
}

/** Finds the field that could not be encoded; `error` is what the generated code said, without a place. */
function whyNot(info: MessageInfo, value: object, error: unknown): string {
  return findFault(info, value, '', 0) ?? (error as Error).message;
}

function findFault(info: MessageInfo, message: object, path: string, depth: number): string | undefined {
  if (depth > 100) return `${path} is nested too deep`;
  for (const field of info.fields) {
    const value: unknown = (message as Record<string, unknown>)[field.property];
    const at = path === '' ? field.property : `${path}.${field.property}`;
    const fault =
      value === null || value === undefined ? findMissing(field, at) : findFieldFault(field, value, at, depth);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function findMissing(field: FieldDescriptor, path: string): string | undefined {
  return field.rule === 'required' ? `${path} is required and not set` : undefined;
}

function findFieldFault(field: FieldDescriptor, value: unknown, path: string, depth: number): string | undefined {
  if (field.rule === 'repeated') {
    if (!Array.isArray(value)) return `${path} is not an array`;
    return firstFault(value.entries(), (index, item) => findValueFault(field, item, `${path}[${index}]`, depth));
  }
  if (field.rule === 'map') {
    return firstFault(Object.entries(value as object), (key, item) =>
      findValueFault(field, item, `${path}[${JSON.stringify(key)}]`, depth),
    );
  }
  return findValueFault(field, value, path, depth);
}

function firstFault<K>(
  items: Iterable<[K, unknown]>,
  find: (key: K, item: unknown) => string | undefined,
): string | undefined {
  for (const [key, item] of items) {
    const fault = find(key, item);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function findValueFault(field: FieldDescriptor, value: unknown, path: string, depth: number): string | undefined {
  if (field.kind === 'message') {
    if (typeof value !== 'object' || value === null) return `${path} is not a ${field.type}`;
    return findFault(infoNamed(field.type as string), value, path, depth + 1);
  }
  const scratch = Writer.create();
  try {
    if (field.kind === 'enum') scratch.int32(value as number);
    else if (field.count === true) scratch.count64(value as number);
    else (scratch[field.kind as 'int64'] as (value: unknown) => unknown).call(scratch, value);
    return undefined;
  } catch (error) {
    return `${path}: ${(error as Error).message}`;
  }
}
