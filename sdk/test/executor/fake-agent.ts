import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, encode, mesos } from '@mesobus/protos';
import { encodeRecord } from '@mesobus/sdk/record-io';
import type { ExecutionContext } from 'ava';

type Event = mesos.v1.executor.Event.$Properties;
type Status = mesos.v1.TaskStatus;

const CallType = mesos.v1.executor.Call.Type;
const { Type } = mesos.v1.executor.Event;

/** What an agent answers to a call; a stream for SUBSCRIBE and 202 for others if nothing. */
export type Judge = (call: mesos.v1.executor.Call) => { readonly status: number; readonly text?: string } | undefined;

/** An agent with one executor, as far as that sees of it; it can go away and come back at the same place. */
export class FakeAgent {
  readonly calls: mesos.v1.executor.Call[] = [];
  readonly tokens = new Set<string | undefined>();
  judge: Judge = () => undefined;
  /** Updates are written down at once. */
  acknowledges = true;
  readonly folder: string;
  readonly #t: ExecutionContext;
  #server: Server | undefined;
  #port = 0;
  #stream: ServerResponse | undefined;
  readonly #waiting = new Set<() => void>();

  private constructor(t: ExecutionContext) {
    this.#t = t;
    this.folder = mkdtempSync(join(tmpdir(), 'mesobus-executor-'));
    t.teardown(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  static async start(t: ExecutionContext, { socket = false } = {}): Promise<FakeAgent> {
    const agent = new FakeAgent(t);
    await agent.start(socket);
    t.teardown(() => agent.stop());
    return agent;
  }

  async start(socket = false): Promise<void> {
    const server = createServer((request, response) => void this.#onRequest(request, response));
    this.#server = server;
    await new Promise<void>((done) => {
      if (socket) server.listen(this.socketPath, done);
      else server.listen(this.#port, '127.0.0.1', done);
    });
    if (!socket) this.#port = (server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    this.#stream = undefined;
    server?.closeAllConnections();
    await new Promise<void>((done) => (server === undefined ? done() : server.close(() => done())));
  }

  get socketPath(): string {
    return join(this.folder, 'agent.sock');
  }

  env(more: Record<string, string> = {}): Record<string, string> {
    return {
      MESOS_FRAMEWORK_ID: 'F',
      MESOS_EXECUTOR_ID: 'e',
      MESOS_SLAVE_ID: 'S0',
      MESOS_SANDBOX: this.folder,
      MESOS_AGENT_ENDPOINT: `127.0.0.1:${this.#port}`,
      MESOS_EXECUTOR_AUTHENTICATION_TOKEN: 'secret',
      MESOS_CHECKPOINT: '1',
      MESOS_RECOVERY_TIMEOUT: '15mins',
      MESOS_SUBSCRIPTION_BACKOFF_MAX: '200ms',
      MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD: '5secs',
      ...more,
    };
  }

  get subscriptions(): mesos.v1.executor.Call.Subscribe[] {
    return this.calls.flatMap(({ subscribe }) => subscribe ?? []);
  }

  get statuses(): Status[] {
    return this.calls.flatMap(({ update }) => update?.status ?? []);
  }

  get messages(): string[] {
    return this.calls.flatMap(({ message }) => (message === null ? [] : Buffer.from(message.data).toString()));
  }

  send(event: Event): void {
    this.#stream?.write(encodeRecord(encode(mesos.v1.executor.Event, event)));
  }

  launch(...ids: string[]): void {
    for (const id of ids) this.send({ type: Type.LAUNCH, launch: { task: taskInfo(id) } });
  }

  acknowledge({ taskId, uuid }: Status): void {
    this.send({ type: Type.ACKNOWLEDGED, acknowledged: { taskId, uuid } });
  }

  endStream(): void {
    this.#stream?.end();
  }

  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      await new Promise<void>((wake) => {
        this.#waiting.add(wake);
      });
    }
  }

  wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    const call = decode(mesos.v1.executor.Call, Buffer.concat(chunks));
    this.#t.is(request.headers['content-type'], 'application/x-protobuf');
    this.tokens.add(request.headers.authorization);
    this.calls.push(call);
    const { status = call.type === CallType.SUBSCRIBE ? 200 : 202, text = '' } = this.judge(call) ?? {};
    if (status === 200) this.#onSubscribe(call, response);
    else response.writeHead(status).end(text);
    if (status === 202 && call.update && this.acknowledges) this.acknowledge(call.update.status);
    this.wake();
  }

  #onSubscribe({ subscribe }: mesos.v1.executor.Call, response: ServerResponse): void {
    this.#stream = response;
    response.writeHead(200, { 'content-type': 'application/x-protobuf' });
    this.send({
      type: Type.SUBSCRIBED,
      subscribed: {
        executorInfo: { executorId: { value: 'e' }, data: Buffer.from('of the framework') },
        frameworkInfo: { user: 'u', name: 'f', id: { value: 'F' } },
        agentInfo: { hostname: 'host-1', id: { value: 'S0' } },
      },
    });
    if (!this.acknowledges) return;
    for (const { status } of subscribe?.unacknowledgedUpdates ?? []) this.acknowledge(status);
  }
}

export const taskInfo = (id: string): mesos.v1.TaskInfo.$Properties => ({
  name: `task ${id}`,
  taskId: { value: id },
  agentId: { value: 'S0' },
  data: Buffer.from(`data of ${id}`),
});
