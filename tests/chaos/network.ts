import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Place } from '@mesobus/cli/local-cluster';

const prefix = 'mbchaos-';
/** Two bridges that have nothing to do with each other: whoever hangs on one cannot reach the other. */
const bridges = { main: 'mbc-main', cutOff: 'mbc-cut' } as const;
/** Of the range for measurements between devices (RFC 2544): in nobody's use. */
const addressOf = (host: number): string => `198.18.77.${host}`;
const firstHost = 10;

/** This process may not make network namespaces, or cannot. */
export class NoNetworkError extends Error {
  override readonly name = 'NoNetworkError';
}

/**
 * Network namespaces of this machine, one per process of a cluster, whose links can be cut. This process is on the main
 * side.
 */
export class Network implements Disposable {
  readonly #hosts = new Map<string, number>();
  readonly #onExit = (): void => removeAll();

  private constructor() {
    process.on('exit', this.#onExit);
  }

  /**
   * What an earlier run left behind is removed first.
   *
   * @throws {NoNetworkError} this user or this machine cannot do it
   * @throws {Error} what an earlier run left behind cannot be removed
   */
  static create(): Network {
    removeAll();
    const network = new Network();
    try {
      for (const bridge of Object.values(bridges)) {
        ip('link', 'add', bridge, 'type', 'bridge');
        ip('link', 'set', bridge, 'up');
      }
      ip('address', 'add', `${addressOf(1)}/24`, 'dev', bridges.main);
      ip('netns', 'add', `${prefix}probe`);
      return network;
    } catch (error) {
      network[Symbol.dispose]();
      const why = (error as Error).message.trim().split('\n').at(-1);
      const todo = 'run it as root, with iproute2, on Linux';
      throw new NoNetworkError(`Cannot make network namespaces: ${why}; ${todo}`, { cause: error });
    }
  }

  /** The place of a process, made when first asked for. */
  readonly placeOf = (name: string): Place => {
    const known = this.#hosts.get(name);
    const host = known ?? firstHost + this.#hosts.size;
    if (known === undefined) this.#add(name, host);
    return { host: addressOf(host), command: ['ip', 'netns', 'exec', `${prefix}${name}`] };
  };

  #add(name: string, host: number): void {
    this.#hosts.set(name, host);
    const namespace = `${prefix}${name}`;
    ip('netns', 'add', namespace);
    ip('link', 'add', linkOf(host), 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    ip('link', 'set', linkOf(host), 'master', bridges.main, 'up');
    ip('-n', namespace, 'address', 'add', `${addressOf(host)}/24`, 'dev', 'eth0');
    for (const device of ['lo', 'eth0']) ip('-n', namespace, 'link', 'set', device, 'up');
  }

  /** Cuts these off from everyone else; they reach each other. Nobody is told: packets just do not arrive. */
  cutOff(names: readonly string[]): void {
    for (const name of names) ip('link', 'set', this.#linkOf(name), 'master', bridges.cutOff);
  }

  heal(): void {
    for (const name of this.#hosts.keys()) ip('link', 'set', this.#linkOf(name), 'master', bridges.main);
  }

  #linkOf(name: string): string {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`'${name}' has no place in the network`);
    return linkOf(host);
  }

  /** Removes all namespaces, after killing what still runs in them. */
  [Symbol.dispose](): void {
    removeAll();
    process.off('exit', this.#onExit);
  }
}

const linkOf = (host: number): string => `mbc${host}`;

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function removeAll(): void {
  for (const name of namespaces()) removeNamespace(name);
  for (const bridge of Object.values(bridges)) if (existsSync(`/sys/class/net/${bridge}`)) ip('link', 'del', bridge);
}

function namespaces(): string[] {
  try {
    const names = ip('netns', 'list')
      .split('\n')
      .map((line) => line.split(' ')[0] ?? ''); // `name (id: 1)`
    return names.filter((name) => name.startsWith(prefix));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []; // without iproute2 nobody has made any
    throw error;
  }
}

/** With its namespace a virtual link disappears at both ends. */
function removeNamespace(name: string): void {
  for (const pid of ip('netns', 'pids', name)
    .split('\n')
    .filter((line) => line !== '')) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
  ip('netns', 'del', name);
}
