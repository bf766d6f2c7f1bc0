/*
 * The resource algebra.
 *
 * Inside, amounts are integer thousandths of the Mesos unit (cpus, MB). Units appear only at the edges: `resources` and
 * `readAmounts` (for framework authors), `fromWire` and `toWire` (messages), `parseResources` and `formatResources` (text).
 */

export { formatAmount, maxAmountUnits, toThousandths } from './amount.ts';
export {
  type AmountInput,
  type Amounts,
  type AmountsInput,
  type ResourcesInput,
  readAmounts,
  resources,
  toResources,
} from './amounts.ts';
export {
  type Attribute,
  type AttributeValue,
  attributesFromWire,
  attributesToWire,
  formatAttributes,
  parseAttributes,
} from './attributes.ts';
export { checkpointedIn, exchange, withCheckpointed } from './checkpointed.ts';
export { ConversionError } from './conversion-error.ts';
export {
  type Conversion,
  type ConversionContext,
  type Converted,
  conversionFromWire,
  convert,
  type WireConversion,
  withoutVolumes,
} from './convert.ts';
export { describeResources } from './describe-resources.ts';
export { formatResources } from './format-resources.ts';
export { fromWire } from './from-wire.ts';
export { MalformedResourceError } from './malformed-resource-error.ts';
export { type ParseOptions, parseResourceEntries, parseResources } from './parse-resources.ts';
export {
  addQuantities,
  containsQuantities,
  equalQuantities,
  formatQuantities,
  isEmptyQuantities,
  noQuantities,
  type Quantities,
  scaleQuantities,
  shortfall,
  subtractQuantities,
  toQuantities,
} from './quantities.ts';
export type { Range, Ranges } from './ranges.ts';
export { findVolume, reservedFor, type VolumeSettings, volumeOf } from './reserving.ts';
export {
  type Disk,
  type DiskSource,
  isIndivisible,
  isPersistentVolume,
  type Label,
  type Reservation,
  type Resource,
  type ResourceSpec,
  type ResourceTraits,
  type ResourceValue,
  reservationRole,
  type Volume,
} from './resource.ts';
export {
  add,
  contains,
  equals,
  isEmpty,
  noResources,
  quantitiesOf,
  type Resources,
  resourcesOf,
  subtract,
  sum,
  trySubtract,
} from './resources.ts';
export { isSubroleOf, roleProblem } from './roles.ts';
export {
  allocatableTo,
  allocate,
  nonRevocable,
  nonShared,
  persistentVolumes,
  popReservation,
  pushReservation,
  reserved,
  reservedTo,
  revocable,
  select,
  shared,
  toRevocable,
  toUnreserved,
  tryUse,
  unallocate,
  unreserved,
} from './selections.ts';
export { toWire } from './to-wire.ts';
export type { WireAttribute, WireAttributeInput, WireResource, WireResourceInput } from './wire-resource.ts';
