/** One frame as it comes off the wire. */
export interface Frame {
  readonly subject: string;
  /** Where an answer goes; empty if nobody waits for one. */
  readonly reply: string;
  readonly bytes: Uint8Array;
  /** As W3C writes it; empty if there is none. */
  readonly traceparent: string;
  /** It is no message: it says that nobody serves the subject that was asked. */
  readonly noResponders: boolean;
}

export interface TransportListener {
  /** The connection came or went. */
  onConnection(connected: boolean): void;
  /** The server does not let us send to this subject. */
  onForbidden(subject: string, why: string): void;
  /** The connection is gone for good. */
  onClosed(why: string): void;
}

/**
 * Carries frames, at most once and in order per sender and subject, as core NATS does. Everything else that a bus does
 * stands above it, so that all buses do the same.
 */
export interface Transport {
  /** Largest frame to send, in bytes. */
  readonly maxFrameBytes: number;
  readonly connected: boolean;
  /** Subjects that start with this and have one more token are ours alone. No frame comes on them before a listen. */
  readonly inboxPrefix: string;
  /** Unique among all processes; letters and digits. */
  readonly id: string;
  /** Called once, before anything else. */
  start(listener: TransportListener): void;
  /** Only while connected. `reply` and `traceparent` may be empty. */
  send(subject: string, bytes: Uint8Array, reply: string, traceparent: string): void;
  /** `onFrame` must not throw. Returns the call that ends it. */
  listen(subject: string, queue: string | undefined, onFrame: (frame: Frame) => void): () => void;
  /** Resolves when the server has seen everything sent and listened to so far; rejects when cut off before that. */
  flush(): Promise<void>;
  /** Delivers what is under way, then ends. */
  close(): Promise<void>;
}
