import { mesobus } from '@mesobus/protos';
import { compareEpochs, connectNats, type Epoch, type NatsBus, subjectsOf } from '@mesobus/sdk/bus';

interface Where {
  readonly nats: string;
  readonly token: string;
  readonly cluster: string;
}

/** The leading master of a local cluster. */
export interface Leader {
  /** Of its process: `master-2`. */
  readonly name: string;
  readonly masterId: string;
  readonly epoch: Epoch;
}

const { LEADING } = mesobus.v1.LeaderBeat.Phase;

/**
 * Waits for the beat of a master that leads and whose process runs.
 *
 * @param nameOf - the process of an instance
 */
export async function untilLed(
  where: Where,
  nameOf: (instance: string) => string | undefined,
  timeoutMs: number,
): Promise<Leader> {
  return withBus(where, async (bus) => {
    const { promise, resolve, reject } = Promise.withResolvers<Leader>();
    let highest: Epoch = { incarnation: 0, epoch: 0 };
    const beats = bus.serve(subjectsOf(where.cluster).leader, ({ message: { masterId, phase }, epoch }) => {
      if (compareEpochs(epoch, highest) < 0) return; // of one that has been deposed
      highest = epoch;
      const [process] = masterId.split('-'); // its second leadership has an id of its own
      const name = nameOf(`master-${process}`);
      if (phase === LEADING && name !== undefined) resolve({ name, masterId, epoch });
    });
    const late = setTimeout(
      () =>
        reject(new Error(`Cannot say who leads: no master has said so for ${timeoutMs} ms; see the logs of masters`)),
      timeoutMs,
    );
    try {
      return await promise;
    } finally {
      clearTimeout(late);
      beats.stop();
    }
  });
}

const infoTimeoutMs = 2_000;

/** The NATS server that leads a stream, by its name; undefined while there is none. */
export function streamLeader(where: Where, stream: string): Promise<string | undefined> {
  return withBus(where, async ({ connection }) => {
    try {
      const answer = await connection.request(`$JS.API.STREAM.INFO.${stream}`, '', { timeout: infoTimeoutMs });
      return answer.json<{ cluster?: { leader?: string } }>().cluster?.leader;
    } catch {
      return undefined; // only the leader answers
    }
  });
}

async function withBus<T>({ nats, token }: Where, work: (bus: NatsBus) => Promise<T>): Promise<T> {
  const bus = await connectNats({ servers: nats, token, name: 'mesobus local cluster' });
  try {
    return await work(bus);
  } finally {
    await bus.close();
  }
}
