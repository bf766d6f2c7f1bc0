#!/usr/bin/env node
// Starts the command: as it was built, or, in a clone, from its sources. Written for any node, so that it can tell.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const least = [24, 12];
const [major, minor] = process.versions.node.split('.').map(Number);
const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const isClone = existsSync(file('../../protos/mesobus')) && existsSync(file('../src/main.ts'));

// A clone brings its own node, whatever runs this.
const own = isClone ? file('../../node_modules/.bin/node') : '';
const isTooOld = major < least[0] || (major === least[0] && minor < least[1]);
const node = isTooOld && existsSync(own) ? own : process.execPath;

if (isTooOld && node === process.execPath) {
  process.stderr.write(
    `mesobus: Cannot run on node ${process.versions.node}: it needs ${least.join('.')} or newer; install that, or run npm ci in the clone\n`,
  );
  process.exit(2);
}

if (isClone) {
  const main = file('../src/main.ts');
  const child = spawn(node, ['-C', 'mesobus-source', main, ...process.argv.slice(2)], { stdio: 'inherit' });
  // A Ctrl-C at the terminal reaches both by itself; what is sent to us alone is passed on.
  process.on('SIGINT', () => undefined);
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
} else {
  await import('../dist/main.js');
}
