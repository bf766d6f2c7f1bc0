import { formatAmount, toThousandths } from '@mesobus/sdk/resources';
import { parseDuration } from '@mesobus/sdk/service';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type ConnectionFlags, clusterNames } from '../connect-cluster.ts';

/** Adds the flags that say which cluster is meant. */
export function withConnection(command: Command): Command {
  return command
    .addOption(new Option('--nats <url>', 'the NATS servers of the cluster [env MESOBUS_NATS]'))
    .addOption(new Option('--token <token>', 'their token; better MESOBUS_NATS_TOKEN: others can read arguments'))
    .addOption(new Option('--nats-creds <file>', 'credentials of `mesobus auth` [env MESOBUS_NATS_CREDS]'))
    .addOption(new Option('--nats-tls-ca <file>', 'who vouches for the servers [env MESOBUS_NATS_TLS_CA]'))
    .addOption(new Option('--nats-tls-cert <file>', 'for servers that ask for it [env MESOBUS_NATS_TLS_CERT]'))
    .addOption(new Option('--nats-tls-key <file>', 'its key [env MESOBUS_NATS_TLS_KEY]'))
    .addOption(new Option('--cluster <name>', 'the cluster [default main; env MESOBUS_CLUSTER]').argParser(clusterName))
    .addOption(
      new Option('--context <file>', "a context file of 'mesobus up' [default: the nearest .mesobus/context.json]"),
    );
}

/** What every command that asks a cluster can be told. */
export type ClusterFlags = ConnectionFlags & { readonly json?: boolean };

export const withJson = (command: Command): Command => command.option('--json', 'for machines: JSON');

export function clusterName(text: string): string {
  if (clusterNames.pattern.test(text)) return text;
  throw new InvalidArgumentError(`It must have ${clusterNames.expected}.`);
}

/** A number of a Mesos unit, 0 or more. */
export function amount(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError('It must be a number that is not negative.');
  return Number(formatAmount(toThousandths(value)));
}

export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

/** Whole milliseconds. */
export function duration(text: string): number {
  const value = parseDuration(text);
  if (value === undefined) throw new InvalidArgumentError('It must be a duration, for example 30s or 5mins.');
  return value;
}

/** Gathers `K=V` pairs of repeated flags. */
export function keyValue(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be written as NAME=value.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
