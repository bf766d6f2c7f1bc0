import { Stack, type World } from './stack.ts';

/** One of each, as on a laptop. */
export async function small(world: World, wrong: string[]): Promise<object> {
  const { say, secondsSince } = world;
  say('the small cluster');
  await using stack = new Stack(world, { file: 'compose.small.yaml', project: 'small' });
  const upAt = performance.now();
  await stack.compose('up', '-d', '--wait');
  const smallUpSeconds = secondsSince(upAt);
  wrong.push(...(await stack.unhealthy()));
  await stack.compose('run', '--rm', '-T', 'hello', '--tasks', '2');
  await stack.compose('--profile', '*', 'down', '--volumes');
  wrong.push(...(await stack.leftOver()));
  return { smallUpSeconds };
}
