import type { ServerResponse } from 'node:http';
import { mesos } from '@mesobus/protos';
import { encodeRecord } from '@mesobus/sdk/record-io';
import { type MediaType, writeMessage } from './media-type.ts';

type Event = mesos.v1.executor.Event.$Properties;

/** So much may wait for an executor that does not read. */
const maxWaitingBytes = 8 << 20;

/** The events of one subscription, on their way to an executor. */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #mediaType: MediaType;
  readonly #onCut: () => void;

  /** @param onCut - the executor was too slow: it has to subscribe again */
  constructor(response: ServerResponse, mediaType: MediaType, onCut: () => void) {
    this.#response = response;
    this.#mediaType = mediaType;
    this.#onCut = onCut;
  }

  send(event: Event): void {
    const response = this.#response;
    if (response.writableEnded || response.destroyed) return;
    // As in Mesos the type is that of the records, although the body is RecordIO.
    if (!response.headersSent) response.writeHead(200, { 'content-type': this.#mediaType });
    response.write(encodeRecord(writeMessage(mesos.v1.executor.Event, this.#mediaType, event)));
    if (event.type === mesos.v1.executor.Event.Type.ERROR) this.end();
    else if (response.writableLength > maxWaitingBytes) {
      response.destroy();
      this.#onCut();
    }
  }

  /** What was sent before still arrives. */
  end(): void {
    this.#response.end();
  }

  cut(): void {
    this.#response.destroy();
  }
}
