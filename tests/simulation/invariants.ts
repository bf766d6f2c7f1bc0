import { createHash } from 'node:crypto';
import type { Effect } from '@mesobus/agent/core';
import type { State } from '@mesobus/master/core';
import { decode, mesobus, mesos } from '@mesobus/protos';
import { type Leadership, ledgerHash } from '@mesobus/registry';
import { applyRecord, createLedger, holdsResources, type Ledger } from '@mesobus/registry/core';
import { compareEpochs, type Delivery, type Epoch } from '@mesobus/sdk/bus';
import { add, contains, equals, noResources, type Resources } from '@mesobus/sdk/resources';
import type { Offer, TaskStatus } from '@mesobus/sdk/scheduler';
import { Drains, isOut } from './drains.ts';
import type { AgentHost } from './world/agent-host.ts';
import type { FrameworkHost, Launched } from './world/framework-host.ts';
import type { Host } from './world/host.ts';
import type { MasterHost } from './world/master-host.ts';
import type { Written } from './world/stream.ts';
import type { World } from './world/world.ts';

/**
 * What must hold after every step, whatever fails. The numbers in brackets are those of the invariants of the reference on
 * reliability. What must hold once the faults have ended is in rest.ts.
 */
export const invariants = {
  'one-writer': 'no entry of an older epoch follows the record of a newer leader [I6, I7]',
  'deposed-steps-down': 'a leader that was replaced knows so within its lease [I7]',
  'unbroken-log': 'entries follow each other without a gap, each names the hash of the one before [I6]',
  'number-once': 'a command number is given to one command of an agent',
  'launch-once-per-call': 'a call launches a task once, however often it is repeated',
  'leader-knows-all': 'a new leader begins with exactly what the log adds up to [I6]',
  'accepted-is-durable':
    'a launch that a framework was told is accepted is in the log, or has been reported as not done [I6]',
  'commit-before-effect': 'an agent hears only of commands that are in the log',
  'commit-before-acknowledge': 'an update is acknowledged to its agent once it is in the log',
  'start-once': 'a command runs at most once per launch decision',
  'start-as-decided': 'what runs was launched on this agent, by the log',
  'dropped-is-final': 'what a framework was told is dropped was not launched, and never runs',
  'no-oversell': 'what runs on a machine fits on it',
  'books-balance': 'what is offered and allocated fits into every agent, and is what its tasks hold [I1, I2]',
  'cursor-never-back': 'what an agent says it has on its disk is there after any crash',
  'epoch-never-back': 'an agent that has obeyed an epoch says so from then on, after any crash too [I7]',
  'killed-stays-killed': 'a launch whose kill was committed before is never sent',
  'one-scheduler': 'no call of a scheduler that was superseded is accepted',
  'frozen-offers-nothing': 'a leader that is not sure that it leads has no offers open',
  'newest-leader-only': 'nobody obeys a master after a newer one [I7]',
  'updates-in-order': 'a framework hears of the states of a task in order, and of one end [I4]',
  'update-number-once': 'an agent gives an update number to one update of a launch [I4]',
  'replicas-agree': 'all ledgers are the same at the same index',
  'damage-is-noticed': 'nobody reads on after an entry that was damaged on its way',
  'gone-stays-gone': 'the tasks of an agent that is gone have ended, and neither its id nor its key comes back [I8]',
  'out-is-out':
    'an agent that is deactivated, drains or is gone has no offers open, and nothing is launched on it [I8]',
  'drain-ends-tasks': 'what runs on an agent that has been told to drain ends within its grace',
  'drained-is-empty': 'an agent counts as drained once its tasks have ended and their ends are acknowledged',
  'full-disk-is-waited-out': 'an agent whose disk is full waits for room, and does not end [I10]',
  'nothing-dies-of-others': 'no service ends or loses its state because of what somebody else sent',
} as const;

export type Invariant = keyof typeof invariants;

const { SUBSCRIBED } = mesobus.v1.FrameworkRecord.Lifecycle;
const { REASON_GC_ERROR } = mesos.v1.TaskStatus.Reason;
const { UNREACHABLE } = mesobus.v1.AgentRecord.Lifecycle;

/** How long a leader may go unconfirmed. */
const leaseMs = 15_000;

/** Between two comparisons of ledgers, in entries: they cost time in proportion to the ledger. */
const compareEvery = 256;

interface Committed {
  /** Those that it launches. */
  readonly taskIds: readonly string[];
  /** Empty: it launches one task, or none. */
  readonly groupId: string;
}

/** Sees everything and believes nobody: it reads the log by its own rules. */
export class Witness {
  /** What the log adds up to. */
  readonly ledger: Ledger = createLedger();
  epoch: Epoch = { incarnation: 0, epoch: 0 };
  masterId = '';
  lastIndex = 0;
  readonly #world: World;
  #lastHash = Buffer.alloc(0);
  #leaderHeardAt = 0;
  /** When the record of the present epoch was written. */
  #ledSince = 0;
  /** By agent id and number. */
  readonly #commands = new Map<string, Committed>();
  /** Of the calls that the log has something of. */
  readonly #calls = new Set<string>();
  /** By framework and task id: the launches in the log. */
  readonly #launches = new Map<string, mesobus.v1.TaskLaunched[]>();
  /** By uuid: which update of which launch it is, as its agent says. */
  readonly #updates = new Map<string, { readonly number: number; readonly commandNumber: number }>();
  /** By index: when the entry was written, in virtual time. */
  readonly #writtenAt: number[] = [];
  /** By framework and task id: the entry that holds the first kill of its launch. */
  readonly #kills = new Map<string, number>();
  readonly drains: Drains;
  /** By instance id of a scheduler: the entry by which another took its place. */
  readonly #superseded = new Map<string, number>();
  /** By agent id: the highest cursor that it has told. */
  readonly #cursors = new Map<string, number>();
  readonly #hashes = new Map<number, string>();
  readonly #started = new Map<string, number>();
  readonly #dropped = new Set<string>();
  /** By host: the highest epoch that it obeyed. */
  readonly #obeyed = new Map<string, Epoch>();
  readonly #epochs = new Map<string, Epoch>();
  /** By framework and task id: what its framework has heard. */
  readonly #heard = new Map<string, { rank: number; readonly uuids: Set<string> }>();
  /** By launch and number of an update: its uuid. */
  readonly #numbers = new Map<string, string>();
  /** By agent and number: the epoch and how often it came. */
  readonly #sent = new Map<string, Epoch>();

  constructor(world: World) {
    this.#world = world;
    this.drains = new Drains(world, (invariant, what) => this.#fail(invariant, what));
  }

  get #count() {
    return this.#world.counters;
  }

  #fail(invariant: Invariant, what: string): void {
    this.#world.violate(invariant, what);
  }

  // ---- the log

  onWritten({ key, bytes, sequence }: Written): void {
    if (key === 'leader') this.#onLeaderRecord(decode(mesobus.v1.LeaderRecord, bytes));
    else if (key.startsWith('log.')) this.#onEntry(decode(mesobus.v1.LogEntry, bytes), bytes, sequence);
    this.#leaderHeardAt = this.#world.engine.now;
    for (const master of this.#world.masters) {
      this.checkBooks(master.state);
      this.#checkEpoch(master);
    }
  }

  /** Its lease has run out by its own clock, which stands still while its process does. */
  #checkEpoch({ name, leadership, process }: MasterHost): void {
    if (leadership === undefined || leadership.lease === 'expired' || process?.paused) return;
    const deposedMs = this.#world.engine.now - this.#ledSince;
    if (compareEpochs(leadership, this.epoch) >= 0 || deposedMs < leaseMs || process?.resumedFor(1_000) === false)
      return;
    this.#fail(
      'deposed-steps-down',
      `${name} leads in epoch ${leadership.epoch}, and was replaced ${deposedMs} ms ago`,
    );
  }

  #onLeaderRecord({ clusterIncarnation, epoch, masterId, renewal }: mesobus.v1.LeaderRecord): void {
    const written = { incarnation: clusterIncarnation, epoch };
    if (compareEpochs(written, this.epoch) < 0) this.#fail('one-writer', `${masterId} renewed epoch ${epoch}`);
    if (masterId === '') this.#count.add('handed over by a clean stop');
    else if (renewal === 0 && epoch > 1 && this.masterId !== '') {
      const silentMs = this.#world.engine.now - this.#leaderHeardAt;
      this.#count.add(silentMs > 14_000 ? 'takeover after a lease' : 'takeover before the lease was over');
    }
    if (renewal === 0) {
      this.#ledSince = this.#world.engine.now;
      this.#count.add('leader elected');
      this.#world.tell(masterId, 'writes that it leads', { epoch });
    }
    this.epoch = written;
    this.masterId = masterId;
    this.#epochs.set(masterId, written);
  }

  #onEntry(entry: mesobus.v1.LogEntry, bytes: Uint8Array, sequence: number): void {
    const { clusterIncarnation: incarnation, epoch, index, previousHash, masterId } = entry;
    if (compareEpochs({ incarnation, epoch }, this.epoch) !== 0 || masterId !== this.masterId) {
      const now = `${this.masterId || 'nobody'} in epoch ${this.epoch.epoch}`;
      this.#fail('one-writer', `${masterId} of epoch ${epoch} wrote entry ${index} under ${now} at ${sequence}`);
    }
    if (index !== this.lastIndex + 1 || !this.#lastHash.equals(previousHash)) {
      this.#fail('unbroken-log', `entry ${index} of ${masterId} does not follow entry ${this.lastIndex}`);
    }
    this.lastIndex = index;
    this.#lastHash = createHash('sha256').update(bytes).digest();
    this.#writtenAt[index] = this.#world.engine.now;
    for (const encoded of entry.records) this.#onRecord(decode(mesobus.v1.Record, encoded));
    if (index % compareEvery === 0) this.#hashes.set(index, ledgerHash(this.ledger));
  }

  #onRecord(record: mesobus.v1.Record): void {
    const { taskLaunched, commandIssued, framework, callRecorded, agent } = record;
    if (callRecorded) this.#calls.add(callRecorded.callId);
    if (taskLaunched) this.#onTaskLaunched(taskLaunched);
    if (commandIssued?.command) this.#onIssued(commandIssued.agentId, commandIssued.command);
    if (framework) this.#onFramework(framework);
    if (agent) this.drains.onAgent(this.ledger, agent, this.masterId);
    applyRecord(this.ledger, record);
  }

  #onTaskLaunched(launched: mesobus.v1.TaskLaunched): void {
    const { frameworkId, agentId, commandNumber, callId, groupId } = launched;
    const taskId = launched.task?.taskId.value ?? '';
    this.drains.onLaunched(this.ledger, agentId, taskId);
    const key = keyOf(frameworkId, taskId);
    const launches = this.#launches.get(key) ?? [];
    const instanceId = this.ledger.frameworks.get(frameworkId)?.record.instanceId ?? '';
    if (!callId.startsWith(`${instanceId}-`)) {
      this.#fail('one-scheduler', `${taskId} was launched by call ${callId}, and ${instanceId} has subscribed since`);
    }
    if (launches.some((other) => other.callId === callId)) {
      this.#fail('launch-once-per-call', `${taskId} was launched again by call ${callId}`);
    }
    this.#launches.set(key, [...launches, launched]);
    this.#calls.add(callId);
    this.#onNumber(agentId, commandNumber, { taskIds: [taskId], groupId });
  }

  hasTasks(agentName: string): boolean {
    const tasks = [...(this.ledger.agentsByName.get(agentName)?.tasks ?? [])];
    return tasks.some(({ state }) => holdsResources(state));
  }

  isUnreachable(agentName: string): boolean {
    return this.ledger.agentsByName.get(agentName)?.record.lifecycle === UNREACHABLE;
  }

  #onIssued(agentId: string, { number, killTask, drainAgent }: mesobus.v1.AgentCommand): void {
    if (drainAgent) this.drains.onDrainIssued(agentId, number, drainAgent);
    this.#onNumber(agentId, number, { taskIds: [], groupId: '' });
    const { frameworkId = '', taskId = '' } = killTask?.task ?? {};
    const task = this.ledger.frameworks.get(frameworkId)?.tasks.get(taskId);
    const key = keyOf(frameworkId, taskId);
    if (task?.agentId === agentId && !this.#kills.has(key)) this.#kills.set(key, this.lastIndex);
  }

  #onNumber(agentId: string, number: number, { taskIds, groupId }: Committed): void {
    if (number === 0) return;
    const key = keyOf(agentId, String(number));
    const before = this.#commands.get(key);
    if (before !== undefined && (groupId === '' || before.groupId !== groupId)) {
      this.#fail('number-once', `${agentId} got two commands with number ${number}`);
    }
    this.#commands.set(key, { taskIds: [...(before?.taskIds ?? []), ...taskIds], groupId });
  }

  #onFramework({ frameworkId, lifecycle, generation, instanceId }: mesobus.v1.FrameworkRecord): void {
    const before = this.ledger.frameworks.get(frameworkId)?.record;
    if (before === undefined) return;
    const { REMOVED } = mesobus.v1.FrameworkRecord.Lifecycle;
    if (lifecycle === REMOVED && before.lifecycle !== REMOVED) this.#count.add('framework removed');
    if (instanceId !== before.instanceId) this.#superseded.set(before.instanceId, this.lastIndex);
    if (generation > before.generation) this.#count.add('framework failed over');
  }

  launchesOf(frameworkId: string, taskId: string): readonly mesobus.v1.TaskLaunched[] {
    return this.#launches.get(keyOf(frameworkId, taskId)) ?? [];
  }

  // ---- masters and replicas

  onLeading(host: MasterHost, masterId: string, { ledger, lastIndex, epoch }: Leadership): void {
    this.#world.tell(host.name, 'leads', { epoch, lastIndex });
    if (epoch !== this.epoch.epoch) return; // another one has taken over meanwhile
    if (lastIndex !== this.lastIndex) {
      this.#fail('leader-knows-all', `${masterId} leads from entry ${lastIndex}, the log has ${this.lastIndex}`);
    } else if (ledgerHash(ledger) !== ledgerHash(this.ledger)) {
      this.#fail('leader-knows-all', `${masterId} has another ledger at entry ${lastIndex} than the log adds up to`);
    }
  }

  /** @param damagedAt - an entry before this one reached it damaged */
  onReplica(name: string, index: number, ledger: Ledger, damagedAt: number | undefined): void {
    if (damagedAt !== undefined && index > damagedAt) {
      this.#fail('damage-is-noticed', `${name} read entry ${index} after it had read a damaged entry ${damagedAt}`);
    }
    const hash = this.#hashes.get(index);
    if (damagedAt !== undefined || hash === undefined || ledgerHash(ledger) === hash) return;
    this.#fail('replicas-agree', `${name} has another ledger at entry ${index} than the log adds up to`);
  }

  onUnfitLog(name: string, error: Error): void {
    this.#fail('replicas-agree', `${name} cannot follow the log: ${error.message}`);
  }

  onFatal(host: Host, error: unknown): void {
    const code = (error as { code?: string }).code;
    if (code !== 'not_leading') this.#fail('nothing-dies-of-others', `${host.name}: ${String((error as Error).stack)}`);
  }

  /** An agent ends because of what its journal says. */
  onDiskFailed(host: Host, why: string): void {
    this.#fail('full-disk-is-waited-out', `${host.name} ends: ${why}`);
  }

  onAgentUnfit(host: Host, error: unknown): void {
    this.#fail('nothing-dies-of-others', `${host.name} cannot start: ${String((error as Error).stack)}`);
  }

  onCallbackFailed(host: Host, error: Error): void {
    this.#fail('nothing-dies-of-others', `${host.name}: ${error.stack}`);
  }

  /** The books of a leader: what is offered and allocated is there, and is what its tasks hold. */
  checkBooks(state: State | undefined): void {
    if (state === undefined) return;
    for (const agent of state.ledger.agents.values()) {
      let held: Resources = noResources;
      for (const { resources } of agent.holdings.values()) held = add(held, resources);
      let offered = held;
      for (const { resources } of state.agents.get(agent.id)?.offers ?? []) offered = add(offered, resources);
      if (!contains(agent.total, offered)) {
        this.#fail('books-balance', `more of ${agent.id} is offered and allocated than it has`);
      }
      let running: Resources = noResources;
      for (const task of agent.tasks) if (holdsResources(task.state)) running = add(running, task.resources);
      for (const { resources } of agent.executors.values()) running = add(running, resources);
      if (!equals(held, running))
        this.#fail('books-balance', `the tasks on ${agent.id} hold something else than its books say`);
      if (isOut(agent.record) && offered !== held) {
        this.#fail('out-is-out', `${agent.id} is offered, and is deactivated, drains or is gone`);
      }
    }
  }

  // ---- agents

  onCommands(host: AgentHost, { epoch, message }: Delivery<mesobus.v1.AgentCommands, never>): void {
    for (const command of message.commands) {
      const { number, runTask, runTaskGroup, killTask, acknowledgeUpdate } = command;
      if (acknowledgeUpdate) this.#onAcknowledged(host, message.agentId, acknowledgeUpdate);
      if (number === 0 || message.agentId === '') continue;
      const key = keyOf(message.agentId, String(number));
      const committed = this.#commands.get(key);
      const tasks = runTask?.task ? [runTask.task] : (runTaskGroup?.group?.tasks ?? []);
      const wanted = tasks.map(({ taskId }) => taskId.value);
      if (committed === undefined && !command.shutdownFramework) {
        this.#fail('commit-before-effect', `${host.name} was sent command ${number}, which is not in the log`);
      } else if (wanted.length > 0 && wanted.join() !== committed?.taskIds.join()) {
        this.#fail('commit-before-effect', `${host.name} was told to run ${wanted} by number ${number}`);
      }
      if (killTask && committed?.taskIds.length) this.#count.add('kill sent in place of a launch');
      if (runTaskGroup?.unlaunched) this.#count.add('group sent as ended');
      if (wanted.length > 0) this.#noteSent(key, epoch);
    }
  }

  /** A leader sends commands. */
  onCommandsSent({ leadership, name }: MasterHost, { commands }: mesobus.v1.AgentCommands.$Properties): void {
    for (const { runTask, runTaskGroup } of commands ?? []) {
      if (runTask?.unlaunched || runTaskGroup?.unlaunched) continue; // sent as ended
      const frameworkId = (runTask ?? runTaskGroup)?.framework?.id?.value ?? '';
      const tasks = runTask?.task ? [runTask.task] : (runTaskGroup?.group?.tasks ?? []);
      for (const { value: taskId } of tasks.map((task) => task.taskId)) {
        const killedIn = this.#kills.get(keyOf(frameworkId, taskId)) ?? Number.POSITIVE_INFINITY;
        // Of what one entry holds the effects leave one after the other: a launch, and then its kill.
        if (killedIn >= (leadership?.lastIndex ?? 0)) continue;
        this.#fail('killed-stays-killed', `${name} sent the launch of ${taskId}, whose kill is in entry ${killedIn}`);
      }
    }
  }

  /** An agent says how far it has come. */
  onCursor(host: AgentHost, agentId: string, cursor: number): void {
    if (agentId === '') return;
    const before = this.#cursors.get(agentId) ?? 0;
    if (cursor < before) this.#fail('cursor-never-back', `${host.name} is at command ${cursor} and was at ${before}`);
    this.#cursors.set(agentId, Math.max(before, cursor));
    this.drains.onCursor(host, agentId, cursor);
  }

  /** A leader answers the calls of a scheduler: what launches is in the log by then. */
  onCallsAnswered(
    { leadership, name }: MasterHost,
    { calls }: mesobus.v1.SchedulerCalls,
    known: number,
    { replies }: mesobus.v1.SchedulerReplies.$Properties,
  ): void {
    for (const [index, { instanceId, callId, call }] of calls.entries()) {
      if (!replies?.[index]?.accepted || leadership === undefined) continue;
      if (call?.accept?.operations.length && !this.#calls.has(callId)) {
        this.#fail('accepted-is-durable', `${name} accepted ${callId}, of which the log has nothing`);
      }
      const since = this.#superseded.get(instanceId) ?? Number.POSITIVE_INFINITY;
      if (since <= known)
        this.#fail('one-scheduler', `${name} accepted ${callId}; its scheduler was superseded by entry ${since}`);
    }
  }

  /** An agent asks its leader: a registration says what is on the disk. */
  onAgentRequest(host: AgentHost, { agentId, register }: mesobus.v1.AgentRequest.$Properties): void {
    if (!register) return;
    this.onCursor(host, agentId ?? '', register.cursor ?? 0);
    const said = { incarnation: register.highestClusterIncarnation ?? 0, epoch: register.highestEpoch ?? 0 };
    const obeyed = this.#obeyed.get(host.name);
    if (obeyed !== undefined && compareEpochs(said, obeyed) < 0) {
      this.#fail(
        'epoch-never-back',
        `${host.name} says that it obeys epoch ${said.epoch}, and has obeyed ${obeyed.epoch}`,
      );
    }
  }

  /** Some time after it froze. */
  onFrozenFor(host: MasterHost): void {
    const open = host.state?.offers.size ?? 0;
    if (host.leadership?.lease === 'frozen' && host.serving && open > 0) {
      this.#fail('frozen-offers-nothing', `${host.name} is frozen and has ${open} offers open`);
    }
  }

  /** Of what nobody waits for any more (its task is forgotten, its framework removed, its agent gone) no record need be. */
  #onAcknowledged(host: AgentHost, agentId: string, { task: key, uuid }: mesobus.v1.AcknowledgeUpdate): void {
    const framework = this.ledger.frameworks.get(key?.frameworkId ?? '');
    const task = framework?.tasks.get(key?.taskId ?? '');
    const update = this.#updates.get(hex(uuid));
    const { REMOVED } = mesobus.v1.FrameworkRecord.Lifecycle;
    if (task?.agentId !== agentId || update === undefined || framework?.record.lifecycle === REMOVED) return;
    if (update.commandNumber !== task.commandNumber || update.number <= task.updateNumber) return;
    const what = `update ${update.number} of ${task.taskId} is acknowledged to ${host.name}; the log has ${task.updateNumber}`;
    this.#fail('commit-before-acknowledge', what);
  }

  #noteSent(key: string, epoch: Epoch): void {
    const before = this.#sent.get(key);
    this.#sent.set(key, epoch);
    if (before === undefined) return;
    this.#count.add('launch sent again');
    if (compareEpochs(before, epoch) < 0) this.#count.add('launch sent again by a new leader');
  }

  /** The agent has answered commands of this epoch: it has obeyed. */
  onObeyed(host: AgentHost, epoch: Epoch): void {
    const before = this.#obeyed.get(host.name);
    if (before !== undefined && compareEpochs(epoch, before) < 0) {
      this.#fail('newest-leader-only', `${host.name} obeyed epoch ${epoch.epoch} after epoch ${before.epoch}`);
    } else this.#obeyed.set(host.name, epoch);
  }

  onUpdatesSent({ updates }: mesobus.v1.TaskUpdates, agentId: string): void {
    for (const { frameworkId, status, number, commandNumber } of updates) {
      const key = `${agentId}\0${commandNumber}\0${frameworkId}\0${status?.taskId.value}\0${number}`;
      const uuid = hex(status?.uuid ?? new Uint8Array());
      const before = this.#numbers.get(key);
      if (before !== undefined && before !== uuid) {
        this.#fail('update-number-once', `update ${number} of ${status?.taskId.value} is two updates`);
      }
      this.#numbers.set(key, uuid);
      if (before === undefined && status?.reason === REASON_GC_ERROR) {
        this.#count.add('launch refused by an agent whose disk is full');
      }
      this.#updates.set(uuid, { number, commandNumber });
    }
  }

  /** Its command runs, or its executor was told of it. */
  onContainerStarted(
    host: AgentHost,
    start: Pick<Extract<Effect, { kind: 'start' }>, 'frameworkId' | 'taskId' | 'agentId'>,
  ): void {
    const { frameworkId, taskId, agentId } = start;
    const key = keyOf(frameworkId, taskId);
    const starts = (this.#started.get(key) ?? 0) + 1;
    this.#started.set(key, starts);
    this.#count.add('task started');
    const launches = this.launchesOf(frameworkId, taskId);
    if (starts > launches.length && launches.length > 0) {
      this.#fail('start-once', `${taskId} was started ${starts} times on ${host.name}`);
    }
    if (!launches.some((launched) => launched.agentId === agentId)) {
      this.#fail('start-as-decided', `${taskId} was started on ${host.name}, where the log has not launched it`);
    }
    if (this.#dropped.has(key))
      this.#fail('dropped-is-final', `${taskId} was started on ${host.name} after it was dropped`);
    this.#checkRoom(host);
  }

  /** What tasks of a removed framework hold is free at once, as in Mesos, though they may take their grace to end. */
  #checkRoom(host: AgentHost): void {
    let [cpus, mem] = [0, 0];
    for (const { start } of host.containers.running) {
      if (this.ledger.frameworks.get(start.frameworkId)?.record.lifecycle !== SUBSCRIBED) continue;
      const wanted = this.launchesOf(start.frameworkId, start.taskId).at(-1)?.task?.resources ?? [];
      cpus += amountOf(wanted, 'cpus');
      mem += amountOf(wanted, 'mem');
    }
    if (cpus > host.cpus + 1e-6 || mem > host.mem + 1e-6) {
      this.#fail(
        'no-oversell',
        `${host.name} runs tasks with ${cpus} cpus and ${mem} MB, and has ${host.cpus} and ${host.mem}`,
      );
    }
  }

  onContainerEnded(_host: AgentHost, _start: Extract<Effect, { kind: 'start' }>): void {}

  // ---- frameworks

  /** The answer is given after an entry that was written since the call was made. */
  onLaunchAccepted(host: FrameworkHost, launches: readonly Launched[], logIndex: number): void {
    const writtenAt = this.#writtenAt[logIndex] ?? Number.NEGATIVE_INFINITY;
    for (const { id, launchedAt } of launches) {
      if (writtenAt >= launchedAt) continue;
      const what = `${host.name} was told at entry ${logIndex} that ${id} is accepted, before it could be in the log`;
      this.#fail('accepted-is-durable', what);
    }
  }

  onOffers(host: FrameworkHost, offers: readonly Offer[]): void {
    for (const { id } of offers) {
      const epoch = this.#epochs.get(id.slice(0, id.lastIndexOf('-O')));
      if (epoch === undefined) continue;
      const key = `offers to ${host.process?.name}`;
      const before = this.#obeyed.get(key);
      if (before !== undefined && compareEpochs(epoch, before) < 0) {
        this.#fail(
          'newest-leader-only',
          `${host.name} got an offer of epoch ${epoch.epoch} after epoch ${before.epoch}`,
        );
      } else this.#obeyed.set(key, epoch);
    }
  }

  onUpdate(host: FrameworkHost, { taskId, state, reason, uuid, raw }: TaskStatus): void {
    const frameworkId = host.memory.frameworkId ?? '';
    const key = keyOf(frameworkId, taskId);
    if (state === 'TASK_DROPPED' || state === 'TASK_ERROR') {
      // An agent refuses what it was told to run by an update of its own; the master drops what it never launches.
      this.#count.add('launch dropped');
      if (uuid === undefined) this.#dropped.add(key);
      if (reason === 'REASON_INVALID_OFFERS' && this.#launches.has(key)) {
        this.#fail('dropped-is-final', `${host.name} was told that ${taskId} is dropped; the log has its launch`);
      }
    }
    if (uuid === undefined) return;
    const heard = this.#heard.get(key) ?? { rank: 0, uuids: new Set() };
    this.#heard.set(key, heard);
    if (heard.uuids.has(uuid)) return;
    heard.uuids.add(uuid);
    const rank = rankOf(raw.state);
    if (rank < heard.rank || heard.rank === endRank) {
      this.#fail('updates-in-order', `${host.name} heard that ${taskId} is ${state} after something later`);
    }
    heard.rank = rank;
  }
}

const endRank = 4;
const ranks: Readonly<Record<number, number>> = { 6: 0, 0: 1, 1: 2, 8: 3 };

/** Staging, starting, running, killing, and every end. */
const rankOf = (state: mesos.v1.TaskState): number => ranks[state] ?? endRank;

const keyOf = (first: string, second: string): string => `${first}\0${second}`;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const amountOf = (resources: readonly mesos.v1.Resource[], name: string): number =>
  resources.reduce((sum, one) => sum + (one.name === name ? (one.scalar?.value ?? 0) : 0), 0);
