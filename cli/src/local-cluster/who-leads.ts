import { mesobus } from '@mesobus/protos';
import { compareEpochs, connectNats, type Epoch, subjectsOf } from '@mesobus/sdk/bus';

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
  const bus = await connectNats({ servers: where.nats, token: where.token, name: 'mesobus local cluster' });
  const { promise, resolve, reject } = Promise.withResolvers<Leader>();
  let highest: Epoch = { incarnation: 0, epoch: 0 };
  bus.serve(subjectsOf(where.cluster).leader, ({ message: { masterId, phase }, epoch }) => {
    if (compareEpochs(epoch, highest) < 0) return; // of one that has been deposed
    highest = epoch;
    const [process] = masterId.split('-'); // its second leadership has an id of its own
    const name = nameOf(`master-${process}`);
    if (phase === LEADING && name !== undefined) resolve({ name, masterId, epoch });
  });
  const why = `no master has said so for ${timeoutMs} ms; see the logs of masters`;
  const late = setTimeout(() => reject(new Error(`Cannot say who leads: ${why}`)), timeoutMs);
  try {
    return await promise;
  } finally {
    clearTimeout(late);
    await bus.close();
  }
}
