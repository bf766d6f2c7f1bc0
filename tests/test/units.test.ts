// What systemd itself says of the units; without it on this machine there is nobody to ask.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';

const units = join(import.meta.dirname, '../../infra/vm/units');
const files = readdirSync(units).filter((name) => /\.(service|target)$/.test(name));
const analyze = spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' });
const version = Number(/^systemd (\d+)/.exec(analyze.stdout ?? '')?.[1] ?? 0);
const canAsk = version >= 252; // the first that looks at units which are not installed
if (!canAsk) console.log('the units are not looked at: there is no systemd-analyze 252 or newer');
const withSystemd = canAsk ? test : test.skip;

/** Of 100: 0 is a service that may do nothing. */
const mostExposure = 30;

withSystemd('systemd-analyze verify finds nothing to say of the units', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'mesobus-units-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const [bin, system] = [join(root, 'opt/mesobus/current/bin'), join(root, 'usr/local/lib/systemd/system')];
  for (const folder of [bin, system]) mkdirSync(folder, { recursive: true });
  for (const name of ['nats-server', ...['master', 'allocator', 'registry', 'agent'].map((one) => `mesobus-${one}`)]) {
    writeFileSync(join(bin, name), '', { mode: 0o755 });
  }
  // Every unit begins after some of these.
  for (const name of ['sysinit', 'basic', 'shutdown', 'multi-user', 'network-online', 'time-sync']) {
    writeFileSync(join(system, `${name}.target`), '[Unit]\nDescription=A part of systemd\n');
  }
  execFileSync('cp', [...files.map((name) => join(units, name)), system]);
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', `--root=${root}`, ...files], {
    encoding: 'utf8',
  });
  t.is(stderr, '');
  t.is(status, 0);
});

for (const name of ['nats', 'master', 'allocator', 'registry']) {
  withSystemd(`mesobus-${name}.service may do little`, (t) => {
    const args = ['security', '--offline=true', `--threshold=${mostExposure}`, '--no-pager'];
    const { status, stdout } = spawnSync('systemd-analyze', [...args, join(units, `mesobus-${name}.service`)], {
      encoding: 'utf8',
    });
    t.is(status, 0, stdout.split('\n').slice(-3).join('\n'));
  });
}
