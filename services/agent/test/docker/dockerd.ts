import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Docker from 'dockerode';

const lookAgainMs = 50;
const keeper = fileURLToPath(new URL('keep-dockerd.sh', import.meta.url));

/** Programs of this machine that images are made of. */
const tools = [
  ...['/bin/sh', 'sleep', 'cat', 'head', 'tail', 'env', 'id', 'ls', 'touch'],
  // What the images of Mesobus and its programs need of a system.
  ...[
    'mkdir',
    'mv',
    'cp',
    'rm',
    'chown',
    'basename',
    'dirname',
    'readlink',
    'du',
    'hostname',
    'flock',
    'mount',
    'unshare',
  ],
];
const settings = ['/etc/passwd', '/etc/group', '/etc/nsswitch.conf'];

/**
 * A daemon of Docker of a test's own. It has namespaces of its own for mounts and networks: bridges and what else it makes
 * are seen by nobody else, and are gone with it.
 */
export class Dockerd {
  readonly socketPath: string;
  readonly docker: Docker;
  readonly #path: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'mesobus-dockerd-'));
  readonly #cgroup = `mesobus-dockerd-${process.pid}`;
  readonly #keeper: ChildProcess;
  /** In the namespaces. */
  #holderPid = 0;
  #daemon: ChildProcess | undefined;

  private constructor(path: string) {
    this.#path = path;
    this.socketPath = join(this.#folder, 'docker.sock');
    this.docker = new Docker({ socketPath: this.socketPath });
    this.#keeper = spawn('sh', [keeper, this.#folder, this.#cgroup], {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true, // whoever ends the tests does not end it
    });
  }

  /** @param path - where its programs are */
  static async start(path: string): Promise<Dockerd> {
    const dockerd = new Dockerd(path);
    const [said] = await once(dockerd.#keeper.stdout as Readable, 'data');
    dockerd.#holderPid = Number(said);
    await dockerd.run();
    await dockerd.#makeImages();
    return dockerd;
  }

  /** Starts the daemon itself, and waits until it answers. */
  async run(): Promise<void> {
    const roots = ['--data-root', join(this.#folder, 'data'), '--exec-root', join(this.#folder, 'exec')];
    const place = ['--pidfile', join(this.#folder, 'pid'), '--host', `unix://${this.socketPath}`];
    // Ports are mapped by its proxy; containers outlive it.
    const kind = ['--iptables=false', '--ip6tables=false', '--live-restore', '--cgroup-parent', `/${this.#cgroup}`];
    const log = openSync(join(this.#folder, 'log'), 'a');
    const daemon = spawn('nsenter', [...this.#inside(), 'dockerd', ...roots, ...place, ...kind], {
      stdio: ['ignore', log, log],
      env: { ...process.env, PATH: this.#path },
    });
    this.#daemon = daemon;
    while (!(await this.#answers())) {
      if (daemon.exitCode !== null) throw new Error(`dockerd ended: ${this.log()}`);
      await wait(lookAgainMs);
    }
  }

  log(): string {
    return readFileSync(join(this.#folder, 'log'), 'utf8').split('\n').slice(-15).join('\n');
  }

  /** Its containers live on. */
  async kill(): Promise<void> {
    this.#daemon?.kill('SIGKILL');
    await once(this.#daemon as ChildProcess, 'exit');
    // Its helper dies with it. Where the first process of a machine buries nobody, the next one would take that for alive.
    rmSync(join(this.#folder, 'exec/containerd/containerd.pid'), { force: true });
  }

  /** Runs a program where the containers' network is, and says what it wrote. */
  runInNetwork(...command: string[]): string {
    return execFileSync('nsenter', [...this.#inside(), ...command], { encoding: 'utf8', timeout: 30_000 });
  }

  /** Ends it with all that it has started and made. */
  async stop(): Promise<void> {
    this.#keeper.stdin?.end();
    await once(this.#keeper, 'exit');
  }

  #inside(): string[] {
    return ['--target', String(this.#holderPid), '--net', '--mount', '--'];
  }

  async #answers(): Promise<boolean> {
    try {
      await this.docker.ping();
      return true;
    } catch {
      return false;
    }
  }

  /** Of programs of this machine, with the libraries that they and node need: there is no registry. */
  async #makeImages(): Promise<void> {
    const where = (tool: string): string => execFileSync('which', [tool], { encoding: 'utf8' }).trim();
    const programs = tools.map(where);
    const libraries = execFileSync('ldd', [...programs, process.execPath], { encoding: 'utf8' })
      .split('\n')
      .flatMap((line) => /(?:^|\s)(\/\S+) \(0x/.exec(line)?.[1] ?? []);
    const files = [...new Set([...programs, ...libraries, ...settings])].map((path) => path.slice(1));
    const options = { maxBuffer: 1 << 28 };
    const layer = execFileSync('tar', ['--create', '--dereference', '--directory', '/', ...files], options);
    const archive = join(this.#folder, 'base.tar');
    execFileSync('tee', [archive], { input: layer, stdio: ['pipe', 'ignore', 'inherit'] });
    const path = 'ENV PATH=/usr/local/bin:/usr/bin:/bin:/opt/own';
    await this.#import(archive, 'base', [path]);
    await this.#import(archive, 'own', [path, 'ENTRYPOINT ["/bin/sh", "-c", "echo own: $0 $@"]', 'CMD ["default"]']);
  }

  async #import(archive: string, repo: string, changes: string[]): Promise<void> {
    const stream = await this.docker.importImage(archive, { repo, tag: 'latest', changes });
    for await (const _ of stream);
  }
}
