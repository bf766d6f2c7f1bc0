import { CommandError } from './command-error.ts';

const shownMatches = 5;

/**
 * The one item whose id (or other name) is `wanted` or, failing that, begins with it.
 *
 * @param what - what is sought, for the message: `framework`
 * @param list - the command that lists them, for the message
 * @throws {CommandError} there is none, or it could be several
 */
export function findByPrefix<Item>(
  what: string,
  wanted: string,
  items: readonly Item[],
  namesOf: (item: Item) => readonly string[],
  list: string,
): Item {
  const exact = items.filter((item) => namesOf(item).includes(wanted));
  const found =
    exact.length > 0 ? exact : items.filter((item) => namesOf(item).some((name) => name.startsWith(wanted)));
  const [only] = found;
  if (only === undefined) throw new CommandError(`Cannot find ${what} '${wanted}'; '${list}' lists what there is`);
  if (found.length === 1) return only;
  const shown = found.slice(0, shownMatches).map((item) => namesOf(item)[0]);
  const more = found.length > shown.length ? ` and ${found.length - shown.length} more` : '';
  throw new CommandError(
    `Cannot tell which ${what} is meant by '${wanted}': ${shown.join(', ')}${more}; write more of it`,
  );
}
