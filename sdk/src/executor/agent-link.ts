import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { decode, encode, mesos } from '@mesobus/protos';
import { RecordDecoder } from '../record-io.ts';
import type { ExecutorEnvironment } from './environment.ts';

type Call = Omit<mesos.v1.executor.Call.$Properties, 'executorId' | 'frameworkId'>;

const path = '/api/v1/executor';
const mediaType = 'application/x-protobuf';
/** Of an answer, not of a stream. */
const answerTimeoutMs = 30_000;
/** Of what an agent says against a call. */
const maxReasonBytes = 4_096;

/** The agent answered a call, and not as the executor wanted. */
export class AgentRefusedError extends Error {
  override readonly name = 'AgentRefusedError';
  /** HTTP status. */
  readonly status: number;

  constructor(status: number, reason: string) {
    super(`The agent refused a call with ${status}: ${reason}`);
    this.status = status;
  }
}

/** The events of a subscription. */
export interface EventStream {
  /** Ends with the stream; throws if it breaks off. */
  readonly events: AsyncIterable<mesos.v1.executor.Event>;
  cut(): void;
}

/** Carries calls of one executor to its agent, and the agent's events back. */
export class AgentLink {
  readonly #env: ExecutorEnvironment;
  /** Calls come in order: one at a time, over one connection. */
  readonly #calls = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(env: ExecutorEnvironment) {
    this.#env = env;
  }

  /** @throws {AgentRefusedError} or whatever keeps the call from the agent */
  async send(call: Call): Promise<void> {
    const response = await this.#post(call, this.#calls);
    if (response.statusCode !== 202) throw await refusalIn(response);
    response.resume();
  }

  /** @throws {AgentRefusedError} or whatever keeps the call from the agent */
  async subscribe(subscribe: mesos.v1.executor.Call.Subscribe.$Properties): Promise<EventStream> {
    const response = await this.#post({ type: mesos.v1.executor.Call.Type.SUBSCRIBE, subscribe }, false);
    if (response.statusCode !== 200) throw await refusalIn(response);
    return { events: eventsIn(response), cut: () => response.destroy() };
  }

  close(): void {
    this.#calls.destroy();
  }

  async #post(call: Call, agent: Agent | false): Promise<IncomingMessage> {
    const { frameworkId, executorId, token, agent: where } = this.#env;
    const ids = { frameworkId: { value: frameworkId }, executorId: { value: executorId } };
    const body = encode(mesos.v1.executor.Call, { ...ids, ...call });
    const request = httpRequest({
      ...where,
      path,
      agent,
      method: 'POST',
      headers: {
        accept: mediaType,
        'content-type': mediaType,
        'content-length': body.length,
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
    });
    const timer = setTimeout(() => request.destroy(new Error('The agent does not answer')), answerTimeoutMs);
    try {
      request.end(body);
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      request.on('error', () => {}); // what breaks from now on shows in the response
      return response;
    } finally {
      clearTimeout(timer);
    }
  }
}

async function refusalIn(response: IncomingMessage): Promise<AgentRefusedError> {
  let reason = '';
  for await (const piece of response.setEncoding('utf8')) {
    reason += piece as string;
    if (reason.length > maxReasonBytes) break;
  }
  return new AgentRefusedError(response.statusCode ?? 0, reason.trim());
}

async function* eventsIn(response: IncomingMessage): AsyncGenerator<mesos.v1.executor.Event> {
  const decoder = new RecordDecoder();
  for await (const chunk of response) {
    for (const record of decoder.push(chunk as Uint8Array)) yield decode(mesos.v1.executor.Event, record);
  }
  decoder.end();
}
