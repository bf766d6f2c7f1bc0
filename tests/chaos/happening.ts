/** What the framework's process is told to do. */
export interface Work {
  readonly nats: string;
  readonly token: string;
  readonly cluster: string;
  readonly items: number;
  /** How long a task sleeps: at least and at most, in seconds. */
  readonly seconds: readonly [number, number];
  /** Each task appends the id of its item to this file. */
  readonly output: string;
  readonly journal: string;
}

/** What happens to the framework, one JSON line each; `at` is the time of day in ms. */
export type Happening = { readonly at: number } & (
  | { readonly kind: 'registered'; readonly frameworkId: string }
  | { readonly kind: 'reregistered' }
  | { readonly kind: 'disconnected'; readonly why: string }
  /** An ACCEPT is about to be sent. */
  | { readonly kind: 'launch'; readonly tasks: readonly string[] }
  /** The leader has it in the log. */
  | { readonly kind: 'accepted'; readonly tasks: readonly string[]; readonly logIndex: number }
  | { readonly kind: 'refused'; readonly tasks: readonly string[]; readonly why: string }
  | {
      readonly kind: 'status';
      readonly task: string;
      readonly state: string;
      readonly uuid: string;
      readonly reason: string;
      readonly message: string;
      /** `again`: it has not run and is launched under another id. */
      readonly outcome: 'alive' | 'done' | 'again';
    }
  | { readonly kind: 'error'; readonly message: string }
);
