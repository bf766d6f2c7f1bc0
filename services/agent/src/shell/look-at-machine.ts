// A program of its own: what looks at a machine is needed once, and takes 6 MB of memory as long as its process lives.
import { cpu, fsSize, mem, osInfo } from 'systeminformation';

/** What it writes, as JSON. */
export interface MachineFacts {
  readonly cores: number;
  readonly memoryBytes: number;
  readonly disks: readonly { readonly mount: string; readonly size: number }[];
  /** Such as `Debian GNU/Linux`. */
  readonly distro: string;
  /** Such as `x64`. */
  readonly arch: string;
}

const [{ cores }, { total: memoryBytes }, disks, { distro, arch }] = await Promise.all([
  cpu(),
  mem(),
  fsSize(),
  osInfo(),
]);
const facts: MachineFacts = { cores, memoryBytes, disks, distro, arch };
process.stdout.write(JSON.stringify(facts));
