import type { Witness } from '@mesobus/registry';
import type { Bus, Subjects } from '@mesobus/sdk/bus';
import { NoRespondersError } from '@mesobus/sdk/errors';
import { isServing } from './beats.ts';

/** A leader that has its process under control answers at once; 'nobody' comes from the NATS server, at once too. */
const probeTimeoutMs = 300;

/**
 * What a standby master perceives of the leader over the bus. It probes with an empty question, which every leader
 * refuses. A leader that hangs keeps its subscriptions, so that it is not taken to be gone.
 */
export const witnessOn = (bus: Bus, subjects: Subjects, principal: string): Witness => ({
  onBeat: (listener) => {
    const beats = bus.serve(subjects.leader, ({ message: { masterId, phase } }) =>
      listener(masterId, isServing(phase)),
    );
    return () => beats.stop();
  },
  onConnection: (listener) => bus.onConnection(listener),
  probe: () =>
    bus.request(subjects.masterQuery.of(principal), {}, { timeoutMs: probeTimeoutMs }).then(
      () => 'unknown',
      (error: unknown) => (error instanceof NoRespondersError ? 'nobody' : 'unknown'),
    ),
});
