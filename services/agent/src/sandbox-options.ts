import { decimal, duration, flag, type Option } from '@mesobus/sdk/service';

/** How sandboxes are looked after. */
export interface SandboxCare {
  readonly gcDelayMs: number;
  readonly gcDiskHeadroom: number;
  readonly diskWatchIntervalMs: number;
  readonly containerDiskWatchIntervalMs: number;
  readonly enforceContainerDiskQuota: boolean;
}

/** Options of sandboxes, with Mesos' names and defaults. */
export const sandboxOptions: { readonly [Key in keyof SandboxCare]: Option<SandboxCare[Key]> } = {
  gcDelayMs: duration({
    help: 'how long the sandbox of what has ended is kept at most; less, the fuller the disk is',
    default: '1weeks',
    min: '0ms',
  }),
  gcDiskHeadroom: decimal({
    help: 'how much of the disk is to stay free: old sandboxes are kept for gc-delay * (1 - headroom - used part)',
    default: 0.1,
    min: 0,
    max: 1,
  }),
  diskWatchIntervalMs: duration({
    help: 'how often old sandboxes are looked at',
    default: '1mins',
    min: '100ms',
  }),
  containerDiskWatchIntervalMs: duration({
    help: 'how often it is measured at most what the sandboxes of running tasks take',
    default: '15secs',
    min: '100ms',
  }),
  enforceContainerDiskQuota: flag({
    help: 'end tasks whose sandboxes take more disk than they were given',
    default: false,
  }),
};
