export { google, mesobus, mesos } from '#messages';
export { type DecodeOptions, decode, encode, has, MalformedMessageError, unknownFields, withUnknown } from './codec.ts';
export { fromJson } from './from-json.ts';
export { MalformedJsonError } from './malformed-json-error.ts';
export { allMessages, infoNamed, infoOf, type MessageInfo, type MessageType } from './message-type.ts';
export { stringifyJson, toJson } from './to-json.ts';
