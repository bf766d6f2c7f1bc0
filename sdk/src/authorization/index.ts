/*
 * Who may do what. Pure: the ACLs are read by whoever asks, as a text.
 *
 *   actions      what there is to allow
 *   parse-acls   the file of Mesos' local authorizer, and what is wrong with it
 *   acls         the decision
 */
export { type Acls, authorize, type Decision } from './acls.ts';
export { type Action, actions, objectsOf } from './actions.ts';
export { type AclsParsed, parseAcls } from './parse-acls.ts';
