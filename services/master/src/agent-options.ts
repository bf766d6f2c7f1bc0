import { duration, integer, type Option, optional, parseDuration, text } from '@mesobus/sdk/service';
import { type Config, defaultConfig } from './core/index.ts';

type SameInConfig =
  | 'agentPingTimeoutMs'
  | 'maxAgentPingTimeouts'
  | 'agentReregisterTimeoutMs'
  | 'registryGcIntervalMs'
  | 'registryMaxAgentAgeMs'
  | 'registryMaxAgentCount';

interface AgentSettings extends Pick<Config, SameInConfig> {
  readonly agentRemovalRateLimit: string | undefined;
  readonly recoveryAgentRemovalLimit: string;
}

/** What an operator may say about agents; the flags have Mesos' names. */
export const agentOptions: { readonly [Key in keyof AgentSettings]: Option<AgentSettings[Key]> } = {
  agentPingTimeoutMs: duration({ help: 'how often agents say that they are alive', default: '5secs', min: '100ms' }),
  maxAgentPingTimeouts: integer({
    help: 'so many heartbeats missing: the agent is unreachable; half of them: it is disconnected',
    default: defaultConfig.maxAgentPingTimeouts,
    min: 1,
  }),
  agentReregisterTimeoutMs: duration({
    help: 'an agent that has not registered with a new leader for so long is unreachable',
    default: '10mins',
    min: '1secs',
  }),
  agentRemovalRateLimit: optional(
    text({
      help: 'how many agents become unreachable in what time; any number unless given',
      example: '1/10mins',
      pattern: /^[1-9]\d*\/\d+(\.\d+)?(ms|s|secs?|m|mins?|h|hrs?|d|days?|w|weeks?)$/,
      expected: 'a number of agents per duration',
    }),
  ),
  recoveryAgentRemovalLimit: text({
    help: 'a new leader that misses more of the agents ends instead of marking them unreachable',
    default: '100%',
    pattern: /^(100|\d{1,2})(\.\d+)?%$/,
    expected: 'a percentage',
  }),
  registryGcIntervalMs: duration({
    help: 'how often old unreachable and gone agents are looked for',
    default: '15mins',
    min: '1secs',
  }),
  registryMaxAgentAgeMs: duration({ help: 'unreachable and gone agents are forgotten after this', default: '2weeks' }),
  registryMaxAgentCount: integer({
    help: 'unreachable and gone agents that are remembered, of each; the oldest go first',
    default: defaultConfig.registryMaxAgentCount,
    min: 0,
  }),
};

/** What they mean to the core. */
export function agentConfigOf(
  settings: AgentSettings,
): Pick<Config, SameInConfig | 'agentRemovalIntervalMs' | 'recoveryAgentRemovalLimit'> {
  const { agentPingTimeoutMs, maxAgentPingTimeouts, agentReregisterTimeoutMs } = settings;
  const { registryGcIntervalMs, registryMaxAgentAgeMs, registryMaxAgentCount } = settings;
  const [agents, period] = (settings.agentRemovalRateLimit ?? '1/0ms').split('/');
  return {
    agentPingTimeoutMs,
    maxAgentPingTimeouts,
    agentReregisterTimeoutMs,
    registryGcIntervalMs,
    registryMaxAgentAgeMs,
    registryMaxAgentCount,
    agentRemovalIntervalMs: (parseDuration(period ?? '') ?? 0) / Number(agents),
    recoveryAgentRemovalLimit: Number.parseFloat(settings.recoveryAgentRemovalLimit) / 100,
  };
}
