/** Where the bus says what nobody else can see: things first, then words, as pino takes them. */
export interface BusLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const silentLogger: BusLogger = { info: () => {}, warn: () => {}, error: () => {} };
