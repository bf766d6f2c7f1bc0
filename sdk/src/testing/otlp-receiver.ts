import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import protobuf from 'protobufjs';

/** One span as it arrived. Times are in ns since 1970; ids in hex; `parentSpanId` is empty for a root. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  readonly service: string;
  readonly instance: string;
  readonly startTimeUnixNano: bigint;
  readonly endTimeUnixNano: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Ids of the spans that it has links to. */
  readonly links: readonly string[];
  /** 0 unset, 1 ok, 2 error. */
  readonly statusCode: number;
}

/** A collector that keeps what it gets, for tests. */
export interface OtlpReceiver {
  /** For `--otlp-endpoint`. */
  readonly endpoint: string;
  spans(): readonly ReceivedSpan[];
  /**
   * Waits until the predicate holds of all spans received so far, then gives them.
   *
   * @throws after `timeoutMs` (default 10000), with the names of the spans that did come
   */
  waitFor(
    predicate: (spans: readonly ReceivedSpan[]) => boolean,
    options?: { readonly timeoutMs?: number },
  ): Promise<readonly ReceivedSpan[]>;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts a collector on a free loopback port. It takes OTLP over HTTP in protobuf, traces only. */
export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const received: ReceivedSpan[] = [];
  const waiting = new Set<() => void>();
  const server = createServer((request, response) => {
    void readBody(request).then((body) => {
      received.push(...spansIn(body));
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
      for (const check of waiting) check();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return {
    endpoint: `http://127.0.0.1:${port}`,
    spans: () => received,
    waitFor: (predicate, { timeoutMs = 10_000 } = {}) =>
      new Promise((resolve, reject) => {
        const done = (): void => {
          clearTimeout(timer);
          waiting.delete(check);
        };
        const check = (): void => {
          if (!predicate(received)) return;
          done();
          resolve([...received]);
        };
        const timer = setTimeout(() => {
          done();
          const names = received.map(({ service, name }) => `${service} ${name}`).join(', ');
          reject(new Error(`the expected spans did not come within ${timeoutMs} ms; came: ${names || 'none'}`));
        }, timeoutMs);
        waiting.add(check);
        check();
      }),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  return request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
}

const field = (id: number, type: string, rule?: 'repeated'): protobuf.IField => ({ id, type, ...(rule && { rule }) });

/** The part of opentelemetry.proto.trace.v1 that says what a span is; the rest is skipped when decoding. */
const root = protobuf.Root.fromJSON({
  nested: {
    Request: { fields: { resourceSpans: field(1, 'ResourceSpans', 'repeated') } },
    ResourceSpans: { fields: { resource: field(1, 'Resource'), scopeSpans: field(2, 'ScopeSpans', 'repeated') } },
    Resource: { fields: { attributes: field(1, 'KeyValue', 'repeated') } },
    ScopeSpans: { fields: { spans: field(2, 'Span', 'repeated') } },
    Span: {
      fields: {
        traceId: field(1, 'bytes'),
        spanId: field(2, 'bytes'),
        parentSpanId: field(4, 'bytes'),
        name: field(5, 'string'),
        kind: field(6, 'int32'),
        startTimeUnixNano: field(7, 'fixed64'),
        endTimeUnixNano: field(8, 'fixed64'),
        attributes: field(9, 'KeyValue', 'repeated'),
        links: field(13, 'Link', 'repeated'),
        status: field(15, 'Status'),
      },
    },
    Link: { fields: { traceId: field(1, 'bytes'), spanId: field(2, 'bytes') } },
    Status: { fields: { code: field(3, 'int32') } },
    KeyValue: { fields: { key: field(1, 'string'), value: field(2, 'AnyValue') } },
    AnyValue: {
      oneofs: { value: { oneof: ['stringValue', 'boolValue', 'intValue', 'doubleValue', 'arrayValue'] } },
      fields: {
        stringValue: field(1, 'string'),
        boolValue: field(2, 'bool'),
        intValue: field(3, 'int64'),
        doubleValue: field(4, 'double'),
        arrayValue: field(5, 'ArrayValue'),
      },
    },
    ArrayValue: { fields: { values: field(1, 'AnyValue', 'repeated') } },
  },
});
const requestType = root.lookupType('Request');

type AnyValue = { value?: string; [kind: string]: unknown };
type KeyValue = { key: string; value: AnyValue };
interface Request {
  resourceSpans: {
    resource: { attributes: KeyValue[] };
    scopeSpans: {
      spans: (Record<string, string> & {
        kind: number;
        attributes: KeyValue[];
        links: { spanId: unknown }[];
        status: { code: number } | null;
      })[];
    }[];
  }[];
}

function spansIn(body: Uint8Array): ReceivedSpan[] {
  const options = { longs: String, bytes: Array, defaults: true, oneofs: true };
  const request = requestType.toObject(requestType.decode(body), options) as unknown as Request;
  return request.resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const about = attributesOf(resource.attributes);
    return scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        traceId: hex(span['traceId']),
        spanId: hex(span['spanId']),
        parentSpanId: hex(span['parentSpanId']),
        name: span['name'] ?? '',
        kind: span.kind,
        service: String(about['service.name'] ?? ''),
        instance: String(about['service.instance.id'] ?? ''),
        startTimeUnixNano: BigInt(span['startTimeUnixNano'] ?? 0),
        endTimeUnixNano: BigInt(span['endTimeUnixNano'] ?? 0),
        attributes: attributesOf(span.attributes),
        links: span.links.map(({ spanId }) => hex(spanId)),
        statusCode: span.status?.code ?? 0,
      })),
    );
  });
}

const hex = (bytes: unknown): string => Buffer.from(bytes as number[]).toString('hex');

function attributesOf(pairs: readonly KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, plain(value)]));
}

function plain(any: AnyValue): unknown {
  const value = any[any.value ?? ''];
  if (any.value === 'arrayValue') return (value as { values: AnyValue[] }).values.map(plain);
  return any.value === 'intValue' ? Number(value) : value;
}
