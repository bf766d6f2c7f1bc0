import { mesobus } from '@mesobus/protos';
import { type Bus, connectNats, subjectsOf } from '@mesobus/sdk/bus';
import { DeadlineError, NoRespondersError, RefusedError } from '@mesobus/sdk/errors';

export interface WhereToAsk {
  readonly nats: string;
  readonly token: string;
  readonly cluster: string;
}

const deadlineMs = 60_000;
/** The registry cannot be told to answer when it changes; each answer costs it some tens of microseconds. */
const askAgainMs = 20;

/**
 * Asks the registry until it shows all of these agents as admitted.
 *
 * @throws {Error} some are still missing after a minute; the message names them
 */
export async function untilAgentsRegistered(where: WhereToAsk, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const bus = await connectNats({ servers: where.nats, token: where.token, name: 'mesobus up' });
  const deadline = performance.now() + deadlineMs;
  try {
    for (;;) {
      const registered = await registeredAgents(bus, where.cluster);
      const missing = names.filter((name) => !registered.has(name));
      if (missing.length === 0) return;
      if (performance.now() > deadline) {
        const what = `Cannot wait longer for ${missing.join(', ')} to register (${deadlineMs / 1000} s)`;
        throw new Error(`${what}: look into the logs of master and agent`);
      }
      await new Promise((resolve) => setTimeout(resolve, askAgainMs));
    }
  } finally {
    await bus.close();
  }
}

async function registeredAgents(bus: Bus, cluster: string): Promise<ReadonlySet<string>> {
  const channel = subjectsOf(cluster).registryQuery.of('default');
  try {
    const { message } = await bus.request(channel, { getAgents: {} }, { timeoutMs: 2000 });
    const records = (message.agents?.agents ?? []).flatMap(({ agent }) => agent ?? []);
    const admitted = records.filter(({ lifecycle }) => lifecycle === mesobus.v1.AgentRecord.Lifecycle.ADMITTED);
    return new Set(admitted.map(({ agentName }) => agentName));
  } catch (error) {
    const isForNow =
      error instanceof NoRespondersError ||
      error instanceof DeadlineError ||
      (error instanceof RefusedError && error.transient);
    if (isForNow) return new Set();
    throw error;
  }
}
