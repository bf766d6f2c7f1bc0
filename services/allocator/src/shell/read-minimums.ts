import { MalformedResourceError, parseResources, type Quantities, quantitiesOf } from '@mesobus/sdk/resources';
import { ConfigError } from '@mesobus/sdk/service';

/**
 * Reads the smallest offers as operators write them: `cpus:0.01|mem:32`, one or the other; `cpus:1;mem:64`, both.
 *
 * @returns empty for an empty text: any offer will do
 * @throws {ConfigError} naming the part that is wrong
 */
export function readMinimums(text: string): Quantities[] {
  return text.split('|').flatMap((part) => (part.trim() === '' ? [] : [readOne(part.trim())]));
}

function readOne(part: string): Quantities {
  try {
    return quantitiesOf(parseResources(part));
  } catch (error) {
    if (!(error instanceof MalformedResourceError)) throw error;
    const wanted = `write amounts such as 'cpus:0.01|mem:32'`;
    throw new ConfigError([`--min-allocatable-resources: '${part}': ${error.message}: ${wanted}`], { cause: error });
  }
}
