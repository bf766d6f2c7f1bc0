import { connectOperator, type Operator } from '@mesobus/sdk/operator';
import { type ConnectionFlags, connectCluster } from './connect-cluster.ts';

/** Whoever waits at a terminal rather hears soon that nobody answers. */
const timeoutMs = 5000;

/** Connects as the flags say, does the work, and closes the connection. */
export async function withOperator<T>(flags: ConnectionFlags, work: (operator: Operator) => Promise<T>): Promise<T> {
  await using connection = await connectCluster(flags);
  const { bus, cluster, principal } = connection;
  await using operator = await connectOperator({ bus, cluster, principal, timeoutMs });
  return await work(operator);
}
