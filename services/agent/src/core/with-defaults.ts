import { mesos } from '@mesobus/protos';

/** A command as it was sent may leave out what has a default. */
export const withDefaults = (command: mesos.v1.CommandInfo.$Properties): mesos.v1.CommandInfo.$Properties =>
  command instanceof mesos.v1.CommandInfo ? command : mesos.v1.CommandInfo.create(command);
