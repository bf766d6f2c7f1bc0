export { google, mesobus, mesos } from '#messages';
export { decode, encode, has, MalformedMessageError } from './codec.ts';
export { allMessages, infoNamed, infoOf, type MessageInfo, type MessageType } from './message-type.ts';
