import { refuse, type Where } from './malformed-resource-error.ts';
import type { WireResource, WireResourceInput } from './wire-resource.ts';

/** What a place in the JSON of a Resource holds. An enum maps each name to its number on the wire. */
type Shape =
  | 'text'
  | 'number'
  | { readonly oneOf: Readonly<Record<string, number>> }
  | { readonly listOf: Shape }
  | { readonly fields: Readonly<Record<string, Shape>> };

const labels: Shape = { fields: { labels: { listOf: { fields: { key: 'text', value: 'text' } } } } };
const reservation: Shape = {
  fields: { type: { oneOf: { STATIC: 1, DYNAMIC: 2 } }, role: 'text', principal: 'text', labels },
};
const root: Shape = { fields: { root: 'text' } };
const disk: Shape = {
  fields: {
    persistence: { fields: { id: 'text', principal: 'text' } },
    volume: { fields: { mode: { oneOf: { RW: 1, RO: 2 } }, container_path: 'text', host_path: 'text' } },
    source: {
      fields: {
        type: { oneOf: { PATH: 1, MOUNT: 2, BLOCK: 3, RAW: 4 } },
        path: root,
        mount: root,
        vendor: 'text',
        id: 'text',
        metadata: labels,
        profile: 'text',
      },
    },
  },
};
const resource: Shape = {
  fields: {
    name: 'text',
    type: { oneOf: { SCALAR: 0, RANGES: 1, SET: 2 } },
    scalar: { fields: { value: 'number' } },
    ranges: { fields: { range: { listOf: { fields: { begin: 'number', end: 'number' } } } } },
    set: { fields: { item: { listOf: 'text' } } },
    role: 'text',
    reservation,
    reservations: { listOf: reservation },
    allocation_info: { fields: { role: 'text' } },
    disk,
    revocable: { fields: {} },
    shared: { fields: {} },
    provider_id: { fields: { value: 'text' } },
  },
};

/**
 * The wire shape of one Resource in Mesos' JSON (snake_case, enums by name). Unlike Mesos, keys that mean nothing are
 * refused: an operator's misspelt 'reservations' must not make resources free for all.
 */
export function fromResourceJson(json: unknown, where: Where): WireResourceInput {
  return decode(resource, json, '', where) as WireResourceInput;
}

/** One Resource in Mesos' JSON. */
export function toResourceJson(wire: WireResource): unknown {
  return encode(resource, wire);
}

function decode(shape: Shape, json: unknown, path: string, where: Where): unknown {
  const at = path === '' ? 'it' : `'${path}'`;
  if (shape === 'text') return typeof json === 'string' ? json : refuse(where, `${at} is no text`, 'put it in quotes');
  if (shape === 'number') return decodeNumber(json, at, where);
  if ('oneOf' in shape) {
    const number = typeof json === 'string' && Object.hasOwn(shape.oneOf, json) ? shape.oneOf[json] : undefined;
    const names = Object.keys(shape.oneOf).join(', ');
    return number ?? refuse(where, `${at} is ${JSON.stringify(json)}`, `write one of ${names}`);
  }
  if ('listOf' in shape) {
    if (!Array.isArray(json)) refuse(where, `${at} is no list`, 'put it in brackets: [...]');
    return json.map((item, i) => decode(shape.listOf, item, `${path}[${i}]`, where));
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    refuse(where, `${at} is no object`, `write {"name": "cpus", "type": "SCALAR", "scalar": {"value": 4}} or the like`);
  }
  return decodeFields(shape.fields, json, path, where);
}

function decodeNumber(json: unknown, at: string, where: Where): number {
  const number = typeof json === 'string' && json.trim() !== '' ? Number(json) : json;
  if (typeof number === 'number' && !Number.isNaN(number)) return number;
  return refuse(where, `${at} is no number`, 'write a number such as 4 or 0.5');
}

function decodeFields(fields: Readonly<Record<string, Shape>>, json: object, path: string, where: Where): object {
  const decoded: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(json)) {
    const at = path === '' ? key : `${path}.${key}`;
    const shape = Object.hasOwn(fields, key) ? fields[key] : undefined;
    if (shape === undefined) {
      const known = Object.keys(fields).join(', ') || 'nothing';
      refuse(where, `'${at}' means nothing here`, `what may stand here: ${known}`);
    }
    if (value !== null) decoded[toCamel(key)] = decode(shape, value, at, where);
  }
  return decoded;
}

function encode(shape: Shape, wire: unknown): unknown {
  if (shape === 'text') return wire;
  if (shape === 'number') return Number(wire);
  if ('oneOf' in shape) return Object.keys(shape.oneOf).find((name) => shape.oneOf[name] === wire);
  if ('listOf' in shape) return (wire as unknown[]).map((item) => encode(shape.listOf, item));
  const json: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(shape.fields)) {
    const value = (wire as Record<string, unknown>)[toCamel(key)];
    if (value !== undefined) json[key] = encode(field, value);
  }
  return json;
}

function toCamel(key: string): string {
  return key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
