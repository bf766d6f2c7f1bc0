import { registerHooks } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Plant } from './plants.ts';

const root = path.resolve(import.meta.dirname, '../../..');

/**
 * Has the production code loaded from now on carry a mistake: the source text is changed before its types are stripped. Call
 * it before anything imports that code. Returns a call that says whether all of it was loaded since.
 *
 * @throws {Error} while loading: the anchor does not stand in the file exactly once, so the plant must be looked after
 */
export function plantInto({ name, edits }: Plant): () => boolean {
  const waiting = new Set(edits);
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      const here = edits.filter(({ file }) => url === pathToFileURL(path.join(root, file)).href);
      if (here.length === 0) return loaded;
      let source = String(loaded.source);
      for (const { file, find, replace } of here) {
        const count = source.split(find).length - 1;
        if (count !== 1) {
          throw new Error(
            `Cannot plant '${name}': its anchor stands ${count} times in ${file}, not once; mend the plant`,
          );
        }
        source = source.replace(find, () => replace);
      }
      for (const edit of here) waiting.delete(edit);
      return { ...loaded, source };
    },
  });
  return () => waiting.size === 0;
}
