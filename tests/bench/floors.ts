// What the same machine does without Mesobus: the bare steps that a launch cannot do without.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';

export const wallMs = (): number => performance.timeOrigin + performance.now();

/** The command whose own clock says when it ran: nanoseconds since 1970. */
export const clockCommand: readonly [string, ...string[]] = ['date', '+%s%N'];

export const clockMs = (text: string): number => Number(text.trim()) / 1e6;

/** Four publishes, one after the other, each seen by its subscriber; one log append; one spawn of the clock command. */
export async function launchFloors(connection: NatsConnection, folder: string, count: number): Promise<number[]> {
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: 'bench-floor', subjects: ['bench.floor.log'] });
  const append = jetstream(connection);
  const payload = new Uint8Array(300);
  let arrived: () => void = () => undefined;
  const subscription = connection.subscribe('bench.floor.hop', { callback: () => arrived() });
  const hop = (): Promise<void> =>
    new Promise((resolve) => {
      arrived = resolve;
      connection.publish('bench.floor.hop', payload);
    });
  const floors: number[] = [];
  try {
    for (let sequence = 0; sequence < count; sequence += 1) {
      const began = wallMs();
      for (let hops = 0; hops < 4; hops += 1) await hop();
      await append.publish('bench.floor.log', payload, { expect: { lastSequence: sequence } });
      const out = path.join(folder, `floor-${sequence}`);
      await spawnOnce(clockCommand, out);
      floors.push(clockMs(readFileSync(out, 'utf8')) - began);
    }
  } finally {
    subscription.unsubscribe();
    await manager.streams.delete('bench-floor');
  }
  return floors;
}

function spawnOnce([file, ...args]: readonly [string, ...string[]], out: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fd = openSync(out, 'w');
    const child = spawn(file, args, { stdio: ['ignore', fd, 'ignore'] });
    closeSync(fd);
    child.once('error', reject).once('close', () => resolve());
  });
}

/** How many `true` a second this process can spawn when it spawns so many at once. */
export async function spawnsPerSecond(count: number): Promise<number> {
  const began = performance.now();
  await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<void>((resolve, reject) => {
          spawn('true', { stdio: 'ignore' })
            .once('error', reject)
            .once('close', () => resolve());
        }),
    ),
  );
  return (count * 1000) / (performance.now() - began);
}
