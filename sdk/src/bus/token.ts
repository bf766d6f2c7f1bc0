const plain = /^[A-Za-z0-9_-]+$/;

/**
 * Makes any non-empty id a single token of a subject: what is not a letter, digit, `_` or `-` becomes `=` and two hex
 * digits per byte of UTF-8. Reversible by {@link decodeToken}.
 *
 * @throws {TypeError} the id is empty: no subject can say it
 */
export function encodeToken(id: string): string {
  if (id === '') throw new TypeError('Cannot put an empty id into a subject: give it at least one character');
  if (plain.test(id)) return id;
  let token = '';
  for (const byte of new TextEncoder().encode(id)) {
    const character = String.fromCharCode(byte);
    token += plain.test(character) ? character : `=${byte.toString(16).padStart(2, '0')}`;
  }
  return token;
}

/** The id behind a token; a token that no {@link encodeToken} made comes back as it is. */
export function decodeToken(token: string): string {
  if (!token.includes('=')) return token;
  const bytes: number[] = [];
  for (let at = 0; at < token.length; at += 1) {
    const hex = token[at] === '=' ? token.slice(at + 1, at + 3) : undefined;
    if (hex === undefined) bytes.push(token.charCodeAt(at));
    else if (/^[0-9a-f]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      at += 2;
    } else return token;
  }
  return new TextDecoder().decode(Uint8Array.from(bytes));
}
