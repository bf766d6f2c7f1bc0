import test from 'ava';
import { agentConfigOf } from '../src/agent-options.ts';
import { defaultConfig } from '../src/core/index.ts';

const settings = { ...defaultConfig, agentRemovalRateLimit: undefined, recoveryAgentRemovalLimit: '100%' };

test("without limits agents are marked at once, however many; as in the core's own defaults", (t) => {
  t.like(defaultConfig, agentConfigOf(settings));
});

const limits: [written: string, intervalMs: number][] = [
  ['1/10mins', 600_000],
  ['4/1mins', 15_000],
  ['2/1.5secs', 750],
];
for (const [agentRemovalRateLimit, intervalMs] of limits) {
  test(`a rate limit of ${agentRemovalRateLimit} is one agent each ${intervalMs} ms`, (t) => {
    t.is(agentConfigOf({ ...settings, agentRemovalRateLimit }).agentRemovalIntervalMs, intervalMs);
  });
}

test('a share of agents is a fraction to the core', (t) => {
  t.is(agentConfigOf({ ...settings, recoveryAgentRemovalLimit: '12.5%' }).recoveryAgentRemovalLimit, 0.125);
});
