import { decode, encode, fromJson, type MessageType, stringifyJson } from '@mesobus/protos';

/** How a message travels over the Mesos v1 API. */
export type MediaType = 'application/json' | 'application/x-protobuf';

/** In the order in which Mesos prefers them. */
const mediaTypes: readonly MediaType[] = ['application/json', 'application/x-protobuf'];

/** Exactly as Mesos compares: without parameters, and with these very letters. */
export const asMediaType = (contentType: string): MediaType | undefined =>
  mediaTypes.find((mediaType) => mediaType === contentType);

/** @returns what to answer with; undefined if nothing is acceptable */
export function negotiate(accept: string | undefined): MediaType | undefined {
  const accepted = (accept ?? '*/*').split(',').map((range) => range.split(';')[0]?.trim() ?? '');
  const isAccepted = (mediaType: MediaType): boolean =>
    accepted.some((range) => range === mediaType || range === 'application/*' || range === '*/*');
  return mediaTypes.find(isAccepted);
}

/** @throws {MalformedMessageError | MalformedJsonError} */
export function readMessage<T extends object>(type: MessageType<T, never>, mediaType: MediaType, body: Uint8Array): T {
  return mediaType === 'application/json' ? fromJson(type, Buffer.from(body).toString('utf8')) : decode(type, body);
}

export function writeMessage<T extends object, P extends object>(
  type: MessageType<T, P>,
  mediaType: MediaType,
  message: NoInfer<P>,
): Uint8Array {
  return mediaType === 'application/json' ? Buffer.from(stringifyJson(type, message)) : encode(type, message);
}
