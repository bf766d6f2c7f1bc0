import { createRequire } from 'node:module';
import type { ZodType } from 'zod';
import { type Option, optional, structured } from './option.ts';

const load = createRequire(import.meta.url);

/** Where a process runs, as a `DomainInfo` message. */
export interface Domain {
  readonly faultDomain: { readonly region: { readonly name: string }; readonly zone: { readonly name: string } };
}

/** `--domain`, as Mesos' flag: the region and zone of a master or agent. */
export function domainOption(help: string): Option<Domain | undefined> {
  const example = '{"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "eu-1"}}}';
  return optional(structured(domainSchema, { help, example }));
}

/** Loaded only here: most processes are given no domain, and zod takes 13 MB of memory. */
function domainSchema(): ZodType<Domain> {
  const { z } = load('zod') as typeof import('zod');
  const named = z.strictObject({ name: z.string().min(1).max(256) });
  const domain = z.strictObject({ fault_domain: z.strictObject({ region: named, zone: named }) });
  return domain.transform(({ fault_domain: faultDomain }): Domain => ({ faultDomain }));
}
