import { descriptor } from '#descriptor';
import type { FieldDescriptor } from './descriptor.ts';
import { scalars } from './json-scalars.ts';
import { MalformedJsonError } from './malformed-json-error.ts';
import { infoNamed, infoOf, type MessageInfo, type MessageType } from './message-type.ts';

/** How deep messages may nest, as on the binary wire. */
const maxDepth = 100;
/** How much of a wrong value an error shows. Characters. */
const maxShown = 60;

type Properties = Record<string, unknown>;

/**
 * Reads a message from JSON in the mapping of the Mesos v1 API (see `toJson`).
 *
 * Unknown keys are ignored. Null means 'not set'. Numbers and booleans may also stand in strings. An unknown name of an
 * enum leaves an optional field unset.
 *
 * @param json - a text, or a value such as `JSON.parse` gives (in which integers beyond 2^53 are inexact, unless bigint)
 * @throws {MalformedJsonError} if the text is no JSON, a value is not of its field's type, a required field is missing,
 *   or two fields of a oneof are set
 */
export function fromJson<T extends object>(type: MessageType<T, never>, json: unknown): T {
  const info = infoOf(type);
  const value = typeof json === 'string' ? parse(info, json) : json;
  return new JsonReader(info.name).message(info, value) as T;
}

function parse(info: MessageInfo, text: string): unknown {
  try {
    // The reviver visits every value and is slow; only a number of 16 digits or more can need it.
    return /\d{16}/.test(text) ? JSON.parse(text, keepInteger) : JSON.parse(text);
  } catch (error) {
    throw new MalformedJsonError(info.name, '', 'JSON', `${show(text)} (${(error as Error).message})`, {
      cause: error,
    });
  }
}

/** Turns an integer that a number cannot hold into a bigint; `context.source` is what the text says. */
function keepInteger(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  const source = context?.source ?? '';
  return /^-?\d+$/.test(source) ? BigInt(source) : value;
}

/** Reads one document; remembers where it is, for the error. */
class JsonReader {
  private readonly root: string;
  /** The way from the document to the value being read: names of fields, indices, and keys of maps as `["key"]`. */
  private readonly steps: (string | number)[] = [];
  private depth = 0;

  constructor(root: string) {
    this.root = root;
  }

  message(info: MessageInfo, json: unknown): object {
    if (!isObject(json)) throw this.unfit('an object', json);
    if (++this.depth > maxDepth) throw this.error(`at most ${maxDepth} messages in each other`, 'more');
    const message = new info.type() as Properties;
    for (const field of info.fields) {
      const value = Object.hasOwn(json, field.name) ? json[field.name] : undefined;
      if (value === undefined || value === null) continue;
      this.steps.push(field.name);
      const read = this.field(field, value);
      if (read !== undefined) this.set(info, message, field, read);
      this.steps.pop();
    }
    this.requireAll(info, message);
    this.depth--;
    return message;
  }

  private field(field: FieldDescriptor, json: unknown): unknown {
    if (field.rule === 'repeated') return this.array(field, json);
    if (field.rule === 'map') return this.map(field, json);
    return this.value(field, json);
  }

  private array(field: FieldDescriptor, json: unknown): unknown[] | undefined {
    if (!Array.isArray(json)) throw this.unfit('an array', json);
    const items: unknown[] = [];
    for (const [index, item] of json.entries()) {
      if (item === null) continue;
      this.steps.push(index);
      const read = this.value(field, item);
      if (read !== undefined) items.push(read);
      this.steps.pop();
    }
    return items.length > 0 ? items : undefined;
  }

  private map(field: FieldDescriptor, json: unknown): Properties | undefined {
    if (!isObject(json)) throw this.unfit('an object', json);
    const entries: [string, unknown][] = [];
    for (const [key, item] of Object.entries(json)) {
      if (item === null) continue;
      this.steps.push(`[${JSON.stringify(key)}]`);
      const read = this.value(field, item);
      if (read !== undefined) entries.push([key, read]);
      this.steps.pop();
    }
    // Unlike an assignment, fromEntries takes the key '__proto__' as it is.
    return entries.length > 0 ? Object.fromEntries(entries) : undefined;
  }

  private value(field: FieldDescriptor, json: unknown): unknown {
    if (field.kind === 'message') return this.message(infoNamed(field.type as string), json);
    if (field.kind === 'enum') return this.enumNumber(field, json);
    const { read, expected } = scalars[field.kind];
    const value = read(json);
    if (value === undefined) throw this.unfit(expected, json);
    if (field.count !== true) return value;
    if ((value as bigint) > Number.MAX_SAFE_INTEGER)
      throw this.unfit(`an integer between 0 and ${Number.MAX_SAFE_INTEGER}`, json);
    return Number(value);
  }

  private enumNumber(field: FieldDescriptor, json: unknown): number | undefined {
    const numbers = descriptor.enums[field.type as string] ?? {};
    if (typeof json !== 'string') throw this.unfit(`a name of ${field.type}`, json);
    if (Object.hasOwn(numbers, json)) return numbers[json];
    if (field.rule === 'required') throw this.unfit(`a name of ${field.type}`, json);
    return undefined;
  }

  private set(info: MessageInfo, message: Properties, field: FieldDescriptor, value: unknown): void {
    if (field.oneof !== undefined) {
      const other = info.fields.find(
        ({ oneof, property }) => oneof === field.oneof && Object.hasOwn(message, property),
      );
      if (other !== undefined)
        throw this.error(`nothing, because ${other.name} is set and one excludes the other`, 'a value');
    }
    message[field.property] = value;
  }

  private requireAll(info: MessageInfo, message: Properties): void {
    const missing = info.fields.filter(
      ({ rule, property }) => rule === 'required' && !Object.hasOwn(message, property),
    );
    const [first] = missing;
    if (first === undefined) return;
    this.steps.push(first.name);
    const names = missing.map(({ name }) => name).join(', ');
    throw this.error(missing.length === 1 ? 'a value (required)' : `a value (required: ${names})`, 'nothing');
  }

  private unfit(expected: string, json: unknown): MalformedJsonError {
    return this.error(expected, show(json));
  }

  private error(expected: string, got: string): MalformedJsonError {
    const path = this.steps.map((step) =>
      typeof step === 'number' ? `[${step}]` : step[0] === '[' ? step : `.${step}`,
    );
    return new MalformedJsonError(this.root, path.join('').replace(/^\./, ''), expected, got);
  }
}

function isObject(json: unknown): json is Properties {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function show(json: unknown): string {
  if (json === undefined) return 'nothing';
  if (Array.isArray(json)) return 'an array';
  if (isObject(json)) return 'an object';
  const text = typeof json === 'string' ? JSON.stringify(json) : String(json);
  return text.length > maxShown ? `${text.slice(0, maxShown)}…` : text;
}
