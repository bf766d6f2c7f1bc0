import { specsFromWire } from './from-wire.ts';
import { MalformedResourceError, refuse, type Where } from './malformed-resource-error.ts';
import { parseValue } from './parse-value.ts';
import type { ResourceSpec } from './resource.ts';
import { fromResourceJson } from './resource-json.ts';
import { resourceProblem } from './resource-problem.ts';
import { collect, type Resources } from './resources.ts';
import { splitPieces } from './split-pieces.ts';
import type { WireResourceInput } from './wire-resource.ts';

export interface ParseOptions {
  /** Whom entries without a role are reserved to, as Mesos' `--default_role`; default `*`: nobody. */
  readonly defaultRole?: string;
}

/**
 * Resources from the text of Mesos' `--resources`: `cpus:24;mem:24576;ports:[21000-24000];bugs(debug_role):{a,b,c}`, where
 * `(role)` reserves statically, or from a JSON list of Resource objects as Mesos writes them.
 *
 * @throws {MalformedResourceError} naming the piece, where it stands, and how to write it
 */
export function parseResources(text: string, options: ParseOptions = {}): Resources {
  return collect(parseResourceEntries(text, options));
}

/** The entries one by one as they were written, even those of nothing: `gpus:0` says that gpus were thought of. */
export function parseResourceEntries(text: string, { defaultRole = '*' }: ParseOptions = {}): readonly ResourceSpec[] {
  const entries = /^\s*[[{]/.test(text) ? parseJson(text, defaultRole) : parseText(text, defaultRole);
  const kinds = new Map<string, ResourceSpec['kind']>();
  for (const { name, kind } of entries) {
    const other = kinds.get(name);
    if (other !== undefined && other !== kind) {
      refuse(() => `the resources '${name}'`, `one is a ${other}, another a ${kind}`, 'give both the same type');
    }
    kinds.set(name, kind);
  }
  return entries;
}

function parseText(text: string, defaultRole: string): ResourceSpec[] {
  return splitPieces(text).map(({ piece, position }) => parsePiece(piece, defaultRole, () => at(piece, position)));
}

const at = (piece: string, position: number): string => `'${piece}' (at character ${position} of the resources)`;

/** `name:value` or `name(role):value`. */
function parsePiece(piece: string, defaultRole: string, where: Where): ResourceSpec {
  const [, name, role = defaultRole, value] = /^([^:()]*)(?:\(([^()]*)\)\s*)?:(.*)$/s.exec(piece) ?? [];
  if (name === undefined || value === undefined) {
    refuse(where, "it is not 'name:value' or 'name(role):value'", "write it as in 'cpus:24;ports(ads):[31000-32000]'");
  }
  const trimmed = role.trim();
  const spec: ResourceSpec = {
    name: name.trim(),
    ...parseValue(value.trim(), where),
    ...(trimmed !== '*' && { reservations: [{ type: 'static', role: trimmed }] }),
  };
  const problem = resourceProblem(spec);
  if (problem !== undefined) throw new MalformedResourceError(where(), problem);
  return spec;
}

function parseJson(text: string, defaultRole: string): ResourceSpec[] {
  const list = readJson(text);
  if (!Array.isArray(list))
    refuse(() => 'the resources', 'the JSON is no list', 'put the Resource objects in brackets');
  return specsFromWire(
    list.map((json, i) => withDefaultRole(json, defaultRole, () => `resource ${i + 1} of the JSON`)),
  );
}

function withDefaultRole(json: unknown, defaultRole: string, where: Where): WireResourceInput {
  const wire = fromResourceJson(json, where);
  const saysWhose = wire.role != null || (wire.reservations?.length ?? 0) > 0;
  return saysWhose ? wire : { ...wire, role: defaultRole };
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const example = `[{"name": "cpus", "type": "SCALAR", "scalar": {"value": 4}}]`;
    const problem = { problem: `it is no JSON (${(cause as Error).message})`, remedy: `write it as in ${example}` };
    throw new MalformedResourceError('the list of resources', problem, { cause });
  }
}
