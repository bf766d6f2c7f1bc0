import { descriptor } from '#descriptor';
import type { FieldDescriptor } from './descriptor.ts';
import { scalars } from './json-scalars.ts';
import { infoNamed, infoOf, type MessageInfo, type MessageType } from './message-type.ts';

type Properties = Record<string, unknown>;

/**
 * The JSON of a message in the mapping of the Mesos v1 API, as a value for `JSON.stringify`: names as in the .proto
 * files, enums by name, bytes in base64, infinities and NaN as strings, 64-bit integers as numbers (beyond 2^53 as
 * `JSON.rawJSON` objects, so that no digit is lost).
 *
 * An optional field that is not set is left out, unless its .proto file spells out a default and it is not deprecated.
 * An enum number that has no name counts as not set, as it does for a Mesos client that does not know it.
 */
export function toJson<T extends object, P extends object>(type: MessageType<T, P>, message: NoInfer<P>): unknown {
  return writeMessage(infoOf(type), message as Properties);
}

/** The JSON text of a message, see `toJson`. */
export function stringifyJson<T extends object, P extends object>(
  type: MessageType<T, P>,
  message: NoInfer<P>,
): string {
  return JSON.stringify(toJson(type, message));
}

function writeMessage(info: MessageInfo, message: Properties): Properties {
  const json: Properties = {};
  for (const field of info.fields) {
    const value = Object.hasOwn(message, field.property) ? message[field.property] : undefined;
    const written = value === undefined || value === null ? writeUnset(field) : writeField(field, value);
    if (written !== undefined) json[field.name] = written;
  }
  return json;
}

/** The default as the .proto file spells it out: of an enum, a name. */
function writeUnset(field: FieldDescriptor): unknown {
  return field.deprecated === true ? undefined : field.default;
}

function writeField(field: FieldDescriptor, value: unknown): unknown {
  switch (field.rule) {
    case 'repeated': {
      const items = (value as unknown[]).map((item) => writeValue(field, item)).filter((item) => item !== undefined);
      return items.length > 0 ? items : undefined;
    }
    case 'map': {
      const entries = Object.entries(value as Properties).map(([key, item]) => [key, writeValue(field, item)] as const);
      return entries.length > 0 ? Object.fromEntries(entries) : undefined;
    }
    default:
      return field.implicit === true && isZero(field, value)
        ? undefined
        : (writeValue(field, value) ?? writeUnset(field));
  }
}

function writeValue(field: FieldDescriptor, value: unknown): unknown {
  if (field.kind === 'message') return writeMessage(infoNamed(field.type as string), value as Properties);
  if (field.kind === 'enum') return enumNames(field.type as string).get(value as number);
  return scalars[field.kind].write(value as never);
}

/** Whether this is what a proto3 field without presence is when nobody set it; of an enum, the first value. */
function isZero(field: FieldDescriptor, value: unknown): boolean {
  if (field.kind === 'enum') return value === Object.values(descriptor.enums[field.type as string] ?? {})[0];
  if (typeof value === 'string' || value instanceof Uint8Array) return value.length === 0;
  return value === 0n || value === false || Object.is(value, 0);
}

const namesOfEnums = new Map<string, Map<number, string>>();

function enumNames(type: string): Map<number, string> {
  let names = namesOfEnums.get(type);
  if (names === undefined) {
    names = new Map(Object.entries(descriptor.enums[type] ?? {}).map(([name, number]) => [number, name]));
    namesOfEnums.set(type, names);
  }
  return names;
}
