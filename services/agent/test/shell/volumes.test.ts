import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { VolumeFolders } from '../../src/shell/volumes.ts';

function folder(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'mesobus-volumes-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const volumesIn = (t: ExecutionContext, root: string, disks: readonly string[] = []): VolumeFolders =>
  new VolumeFolders(root, disks, (error) => t.fail(String(error)));

const place = { role: 'eng/ads', id: 'v1', isWhole: false };

test('a volume is a folder that keeps what is in it', (t) => {
  const root = folder(t);
  const volumes = volumesIn(t, root);
  volumes.prepare(place);
  const path = volumes.open({ place, containerPath: 'data', shared: false }, undefined);
  t.is(path, join(root, 'volumes/roles/eng ads/v1'));
  writeFileSync(join(path, 'file'), 'kept');
  volumesIn(t, root).make(place);
  t.is(readFileSync(join(path, 'file'), 'utf8'), 'kept');
});

test('a place in which there is something is refused with what to do', (t) => {
  const root = folder(t);
  const volumes = volumesIn(t, root);
  volumes.make(place);
  volumes.prepare(place);
  writeFileSync(join(root, 'volumes/roles/eng ads/v1/file'), 'of somebody');
  t.throws(() => volumes.prepare(place), { message: /there is something in '.*v1' already; move it away, or give/ });
});

test('a volume that is removed is gone at once, and what an earlier process left of one is deleted', async (t) => {
  const root = folder(t);
  const volumes = volumesIn(t, root);
  volumes.make(place);
  volumes.remove(place);
  volumes.remove(place);
  t.false(existsSync(join(root, 'volumes/roles/eng ads/v1')));
  const disk = folder(t);
  for (const one of [root, disk]) mkdirSync(join(one, 'volumes/destroyed-left/content'), { recursive: true });
  volumesIn(t, root, [disk]);
  const left = (): string[] => [root, disk].flatMap((one) => readdirSync(join(one, 'volumes')));
  while (left().some((name) => name.startsWith('destroyed-'))) await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(left(), ['roles']);
});

test('a volume goes with its content to another role', (t) => {
  const root = folder(t);
  const volumes = volumesIn(t, root);
  volumes.make(place);
  writeFileSync(join(root, 'volumes/roles/eng ads/v1/file'), 'kept');
  for (const _ of ['once', 'and again']) volumes.move(place, { ...place, role: 'web' });
  t.is(readFileSync(join(root, 'volumes/roles/web/v1/file'), 'utf8'), 'kept');
});

test('a volume on another disk lies there; of one that is a whole disk only the content is removed', (t) => {
  const root = folder(t);
  const disk = folder(t);
  const volumes = volumesIn(t, root);
  volumes.make({ ...place, root: disk });
  t.true(existsSync(join(disk, 'volumes/roles/eng ads/v1')));
  const whole = { ...place, root: join(disk, 'mount'), isWhole: true };
  mkdirSync(whole.root);
  writeFileSync(join(whole.root, 'file'), 'x');
  volumes.prepare(whole);
  volumes.remove(whole);
  t.deepEqual(readdirSync(whole.root), []);
});
