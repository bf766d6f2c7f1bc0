/*
 * The shape of `mesos.v1.Resource` and `Attribute` as protobufjs gives it (camelCase, enums as numbers). It is written
 * down here and not imported, so that the algebra depends on no generated code.
 */

type Maybe<T> = T | null | undefined;

export interface WireLabels {
  labels?: Maybe<{ key: string; value?: Maybe<string> }[]>;
}

export interface WireReservation {
  type?: Maybe<number>;
  role?: Maybe<string>;
  principal?: Maybe<string>;
  labels?: Maybe<WireLabels>;
}

export interface WireVolume {
  mode?: Maybe<number>;
  containerPath?: Maybe<string>;
  hostPath?: Maybe<string>;
}

export interface WireDisk {
  persistence?: Maybe<{ id?: Maybe<string>; principal?: Maybe<string> }>;
  volume?: Maybe<WireVolume>;
  source?: Maybe<WireDiskSource>;
}

export interface WireDiskSource {
  type?: Maybe<number>;
  path?: Maybe<{ root?: Maybe<string> }>;
  mount?: Maybe<{ root?: Maybe<string> }>;
  vendor?: Maybe<string>;
  id?: Maybe<string>;
  metadata?: Maybe<WireLabels>;
  profile?: Maybe<string>;
}

/** 64-bit numbers are read as either and written as bigint, as the generated code wants them. */
export interface WireRanges {
  range?: Maybe<{ begin: number | bigint; end: number | bigint }[]>;
}

/** What `fromWire` reads. `role` and `reservation` are the old way to say `reservations`. */
export interface WireResourceInput {
  name?: Maybe<string>;
  type?: Maybe<number>;
  scalar?: Maybe<{ value?: Maybe<number> }>;
  ranges?: Maybe<WireRanges>;
  set?: Maybe<{ item?: Maybe<string[]> }>;
  role?: Maybe<string>;
  reservation?: Maybe<WireReservation>;
  reservations?: Maybe<WireReservation[]>;
  allocationInfo?: Maybe<{ role?: Maybe<string> }>;
  disk?: Maybe<WireDisk>;
  revocable?: Maybe<object>;
  shared?: Maybe<object>;
  providerId?: Maybe<{ value?: Maybe<string> }>;
}

interface WrittenLabels {
  labels: { key: string; value?: string }[];
}

/** What `toWire` writes. */
export interface WireResource {
  name: string;
  type: 0 | 1 | 2;
  scalar?: { value: number };
  ranges?: { range: { begin: bigint; end: bigint }[] };
  set?: { item: string[] };
  reservations?: { type: 1 | 2; role: string; principal?: string; labels?: WrittenLabels }[];
  allocationInfo?: { role: string };
  disk?: WrittenDisk;
  revocable?: Record<string, never>;
  shared?: Record<string, never>;
  providerId?: { value: string };
}

export interface WrittenDisk {
  persistence?: { id: string; principal?: string };
  volume?: WrittenVolume;
  source?: {
    type: 1 | 2 | 3 | 4;
    path?: { root?: string };
    mount?: { root?: string };
    vendor?: string;
    id?: string;
    metadata?: WrittenLabels;
    profile?: string;
  };
}

interface WrittenVolume {
  mode: 1 | 2;
  containerPath: string;
  hostPath?: string;
}

/** What `attributesFromWire` reads. */
export interface WireAttributeInput {
  name?: Maybe<string>;
  type?: Maybe<number>;
  scalar?: Maybe<{ value?: Maybe<number> }>;
  ranges?: Maybe<WireRanges>;
  set?: Maybe<{ item?: Maybe<string[]> }>;
  text?: Maybe<{ value?: Maybe<string> }>;
}

/** What `attributesToWire` writes. */
export interface WireAttribute {
  name: string;
  type: 0 | 1 | 2 | 3;
  scalar?: { value: number };
  ranges?: { range: { begin: bigint; end: bigint }[] };
  set?: { item: string[] };
  text?: { value: string };
}
