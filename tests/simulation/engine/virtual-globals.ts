import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import type { Dice } from './dice.ts';
import type { Engine } from './engine.ts';

/*
 * The globals that tell time, wait and throw dice. Production code gets its clock and dice passed in where they matter;
 * what is left (gathering what one turn of the event loop brings, ids) goes through these, and while a simulation runs
 * they stand in its virtual time and draw from its seed.
 */

const real = {
  setImmediate: globalThis.setImmediate,
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  dateNow: Date.now,
  random: Math.random,
  now: performance.now.bind(performance),
  randomUUID: crypto.randomUUID,
  randomBytes: crypto.randomBytes,
};

type Call = (...args: unknown[]) => void;

/** Puts the globals into an engine's time. Returns the call that puts the real ones back. */
export function enterVirtualTime(engine: Engine, dice: Dice): () => void {
  const random = (): Dice => engine.current?.dice ?? dice;
  const later = (delayMs: number, call: Call, args: unknown[], isTimer: boolean) =>
    engine.after(delayMs, engine.current, args.length === 0 ? (call as () => void) : () => call(...args), isTimer);
  Object.assign(globalThis, {
    setImmediate: (call: Call, ...args: unknown[]) => later(0, call, args, false),
    setTimeout: (call: Call, delayMs = 0, ...args: unknown[]) => later(Math.max(1, delayMs), call, args, true),
    clearTimeout: (cancel: unknown) => {
      if (typeof cancel === 'function') cancel();
    },
  });
  Date.now = () => Math.trunc(engine.current?.wallMs() ?? engine.wallMs);
  Math.random = () => random().random();
  performance.now = () => engine.now;
  crypto.randomUUID = () => random().uuid();
  crypto.randomBytes = ((size: number) => Buffer.from(random().bytes(size))) as typeof crypto.randomBytes;
  syncBuiltinESMExports();
  return leaveVirtualTime;
}

function leaveVirtualTime(): void {
  const { setImmediate, setTimeout, clearTimeout } = real;
  Object.assign(globalThis, { setImmediate, setTimeout, clearTimeout });
  Date.now = real.dateNow;
  Math.random = real.random;
  performance.now = real.now;
  crypto.randomUUID = real.randomUUID;
  crypto.randomBytes = real.randomBytes;
  syncBuiltinESMExports();
}
