import type { mesobus } from '@mesobus/protos';
import type { Bus, Subjects } from '@mesobus/sdk/bus';
import { CommandError } from '../command-error.ts';

/** A task and where it runs, or ran. */
export interface TaskPlace {
  readonly frameworkId: string;
  readonly taskId: string;
  readonly agentId: string;
}

/** Whom to ask, and as whom. */
export interface Asker {
  readonly bus: Bus;
  readonly subjects: Subjects;
  readonly principal: string;
}

/** So much is asked for at once; agents give no more. */
const readBytes = 65_536;
const timeoutMs = 5000;

/** Reads the sandboxes of many tasks at once: where an agent is, is asked once and not for every read. */
export class SandboxReader {
  private readonly asker: Asker;
  private readonly names = new Map<string, Promise<string>>();

  constructor(asker: Asker) {
    this.asker = asker;
  }

  /**
   * Reads a piece of a file, from `offset` in bytes; an empty piece where the file ends now.
   *
   * @param path - in the sandbox
   * @param fileId - as the answer before said: reads on in that file, also if it was rotated meanwhile
   * @throws {RefusedError} path_unknown, path_forbidden
   * @throws {NoRespondersError} the agent is away
   * @throws {DeadlineError} the agent does not answer
   */
  async read(task: TaskPlace, path: string, offset: number, fileId = ''): Promise<mesobus.v1.FileData> {
    const { data } = await this.ask(task, path, { read: { offset, length: readBytes, fileId } });
    if (data) return data;
    throw new CommandError(
      `Cannot read '${path}' of task ${task.taskId}: its agent gave no data; is it of another version?`,
    );
  }

  private async ask(
    task: TaskPlace,
    path: string,
    what: Pick<mesobus.v1.FileRequest.$Properties, 'read'>,
  ): Promise<mesobus.v1.FileReply> {
    const { bus, subjects, principal } = this.asker;
    const { frameworkId, taskId } = task;
    const channel = subjects.agentFiles(await this.nameOf(task.agentId)).of(principal);
    const { message } = await bus.request(channel, { task: { frameworkId, taskId }, path, ...what }, { timeoutMs });
    return message;
  }

  /** Agents are addressed by name, which stays, while their ids may change. */
  private nameOf(agentId: string): Promise<string> {
    const known = this.names.get(agentId);
    if (known !== undefined) return known;
    const asking = this.lookUp(agentId);
    this.names.set(agentId, asking);
    asking.catch(() => this.names.delete(agentId));
    return asking;
  }

  private async lookUp(agentId: string): Promise<string> {
    const { bus, subjects, principal } = this.asker;
    const channel = subjects.registryQuery.of(principal);
    const { message } = await bus.request(channel, { getAgents: { agentId } }, { timeoutMs });
    const name = message.agents?.agents?.[0]?.agent?.agentName;
    if (name !== undefined) return name;
    throw new CommandError(`Cannot find agent ${agentId}: it has left the cluster, and its sandboxes with it`);
  }
}
