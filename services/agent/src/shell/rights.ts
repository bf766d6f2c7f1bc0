import { ConfigError } from '@mesobus/sdk/service';

/**
 * Says once what an agent of a normal user does not do. What its tasks are isolated by is said with the isolation.
 *
 * @throws {ConfigError} it is told to do what needs root
 */
export function sayRights(switchUser: boolean, log: { warn(fields: object, message: string): void }): void {
  const uid = process.getuid?.();
  if (uid === 0) return;
  if (switchUser) {
    const problem = `Cannot run tasks as the users that they name (--switch-user): the agent runs as user ${uid}`;
    throw new ConfigError([`${problem}, and only root can; leave it out, or start the agent as root`]);
  }
  log.warn(
    { uid },
    'The agent does not run as root: all tasks run as its own user, whatever user they name, with its rights and no ' +
      'capabilities, and within its own limits (ulimit); control groups it has only where they are delegated to it',
  );
}
