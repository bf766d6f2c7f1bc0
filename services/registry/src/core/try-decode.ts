import { type DecodeOptions, decode, type MessageType } from '@mesobus/protos';

/** What bytes decode to; undefined if they are no such message. */
export function tryDecode<T extends object>(
  type: MessageType<T, never>,
  bytes: Uint8Array,
  options: DecodeOptions = {},
): T | undefined {
  try {
    return decode(type, bytes, options);
  } catch {
    return undefined;
  }
}
