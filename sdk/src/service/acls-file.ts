import { type Acls, parseAcls } from '../authorization/index.ts';
import type { BusLogger, Clock } from '../bus/index.ts';
import { type Option, optional, text } from './option.ts';
import { WatchedFile } from './watched-file.ts';

/** The option that names the file of the ACLs. */
export const aclsOption: Option<string | undefined> = optional(
  text({
    help:
      'a file with who may do what, as JSON of Mesos; read again every 5 s; what no rule allows is denied; ' +
      'without it all is allowed',
    example: '/etc/mesobus/acls.json',
  }),
);

/**
 * Reads the ACLs, and again when they change.
 *
 * @returns undefined if no file is named: everything is allowed
 * @throws {ConfigError} the file cannot be read, or is wrong
 */
export function openAcls(
  file: string | undefined,
  { clock, log }: { readonly clock: Clock; readonly log: BusLogger },
): WatchedFile<Acls> | undefined {
  if (file === undefined) return undefined;
  const parse = (content: string): Acls => {
    const parsed = parseAcls(content);
    if (!parsed.ok) throw new Error(parsed.problems.join('; '));
    for (const warning of parsed.warnings) log.warn({ file }, `The ACLs are used, but ${warning}`);
    return parsed.acls;
  };
  const remedy = 'mend it, or leave --acls out to allow everything';
  return new WatchedFile({ file, flag: 'acls', what: 'The file of the ACLs', remedy, parse, clock, log });
}
