/** What the .proto files say about a field. */
export interface FieldDescriptor {
  /** As in the .proto file and in JSON: snake_case. */
  readonly name: string;
  /** As in TypeScript: camelCase. */
  readonly property: string;
  /** The field number on the wire. */
  readonly id: number;
  readonly kind: ScalarKind | 'enum' | 'message';
  /** The full name of the enum or message, such as `mesos.v1.TaskState`. */
  readonly type?: string;
  /** A 64-bit integer of package mesobus.v1: below 2^53, a plain number in our code. */
  readonly count?: true;
  /** A map's keys are strings; `kind` and `type` are those of its values. */
  readonly rule: 'required' | 'optional' | 'repeated' | 'map';
  /** The default that the .proto file spells out; an enum's is a name. */
  readonly default?: string | number | boolean;
  readonly deprecated?: true;
  /** The oneof that the field is a member of. */
  readonly oneof?: string;
  /** A proto3 field that cannot be told apart from its zero value. */
  readonly implicit?: true;
}

export type ScalarKind =
  | 'double'
  | 'float'
  | 'int32'
  | 'uint32'
  | 'sint32'
  | 'fixed32'
  | 'sfixed32'
  | 'int64'
  | 'uint64'
  | 'sint64'
  | 'fixed64'
  | 'sfixed64'
  | 'bool'
  | 'string'
  | 'bytes';

/** The fields of a message in the order of the .proto file. */
export type MessageDescriptor = readonly FieldDescriptor[];

/** The numbers of an enum by name. */
export type EnumDescriptor = Readonly<Record<string, number>>;

/** All messages and enums by full name, such as `mesos.v1.Offer.Operation`. */
export interface Descriptor {
  readonly messages: Readonly<Record<string, MessageDescriptor>>;
  readonly enums: Readonly<Record<string, EnumDescriptor>>;
}
