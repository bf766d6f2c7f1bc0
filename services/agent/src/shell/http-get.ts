import { type IncomingMessage, get as overHttp } from 'node:http';
import { get as overHttps } from 'node:https';

/** As many as curl and browsers follow, about. */
const maxRedirects = 20;

export interface GetOptions {
  /** Ends the request, and the body that is being read. */
  readonly signal: AbortSignal;
  /** Take any certificate: whoever answers is on this machine. */
  readonly anyCertificate?: boolean;
}

/**
 * Asks for what is at an http or https URL and follows redirects. The body is as it was sent: nothing is unpacked.
 *
 * @throws {Error} nobody answers, the answer leads nowhere, or the signal says so
 */
export async function httpGet(url: URL, options: GetOptions): Promise<IncomingMessage> {
  let at = url;
  for (let redirects = 0; redirects <= maxRedirects; redirects += 1) {
    const response = await ask(at, options);
    const { statusCode = 0, headers } = response;
    if (![301, 302, 303, 307, 308].includes(statusCode) || headers.location === undefined) return response;
    response.destroy();
    const next = URL.parse(headers.location, at.href);
    if (next === null || !/^https?:$/.test(next.protocol)) {
      throw new Error(`the server redirects to '${headers.location}', which is no http or https URL`);
    }
    at = next;
  }
  throw new Error(`the server has redirected more than ${maxRedirects} times`);
}

function ask(url: URL, { signal, anyCertificate = false }: GetOptions): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const common = { signal, agent: false, headers: { 'user-agent': 'mesobus', accept: '*/*' } } as const;
  const request =
    url.protocol === 'https:'
      ? overHttps(url, { ...common, rejectUnauthorized: !anyCertificate }, resolve)
      : overHttp(url, common, resolve);
  request.on('error', reject);
  return promise;
}
