/** A mistake that somebody might make in production code, as a change of its source. */
export interface Plant {
  readonly name: string;
  /** What is wrong with it. */
  readonly what: string;
  readonly edits: readonly Edit[];
}

export interface Edit {
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
}

const master = (file: string): string => `services/master/src/${file}`;
const registry = (file: string): string => `services/registry/src/${file}`;
const agent = (file: string): string => `services/agent/src/${file}`;
const sdk = (file: string): string => `sdk/src/${file}`;

/** Mistakes that the simulator must find. Each is one that was made somewhere, or nearly. */
export const plants: readonly Plant[] = [
  {
    name: 'skip-fencing',
    what: 'an append does not say which sequence it follows',
    edits: [
      {
        file: registry('shell/leadership.ts'),
        find: 'store.append(key, bytes, expectedSequence)',
        replace: 'store.append(key, bytes, Number.NaN)',
      },
    ],
  },
  {
    name: 'append-behind-another',
    what: 'a leader that finds the entry of another appends behind it',
    edits: [
      {
        file: registry('core/log-writer.ts'),
        find: 'const sequence = writer.lastSequence + 1;\n  if (found !== undefined) {',
        replace: `const sequence = writer.lastSequence + 1;
  if (found !== undefined && !(found.key === append.key && sameBytes(found.bytes, append.bytes))) {
    writer.lastSequence = lastSequence;
    return write(writer, append);
  }
  if (found !== undefined) {`,
      },
    ],
  },
  {
    name: 'unknown-is-written',
    what: 'an append of unknown outcome is taken for written',
    edits: [
      {
        file: registry('core/log-writer.ts'),
        find: "return writer.append?.phase === 'writing' ? later(writer.append, now, 'read') : [];",
        replace: "return writer.append?.phase === 'writing' ? confirm(writer, writer.append) : [];",
      },
    ],
  },
  {
    name: 'skip-read-barrier',
    what: 'a new leader begins with what it happens to have read, on the word of its compare-and-set on the key',
    edits: [
      {
        file: registry('shell/lead.ts'),
        find: 'await this.#tools.store.append(leaderKey, bytes, expectedSequence);',
        replace: `const { reader } = this.#reading;
    const won = await this.#tools.store.update(leaderKey, bytes, reader.leader?.sequence ?? 0);
    if (won.kind === 'appended' && !this.#done && expectedSequence >= 0) {
      const incarnation = Math.max(1, reader.incarnation);
      this.#win({ kind: 'won', incarnation, epoch: reader.epoch + 1, sequence: won.sequence });
    }`,
      },
    ],
  },
  {
    name: 'believe-any-hash',
    what: 'a reader does not check that an entry follows the one before',
    edits: [
      {
        file: registry('core/log-reader.ts'),
        find: 'if (sameBytes(entry.previousHash, reader.lastHash)) return undefined;',
        replace: 'if (entry.previousHash.length <= 32) return undefined;',
      },
    ],
  },
  {
    name: 'act-before-commit',
    what: 'effects leave the master before their records are committed',
    edits: [
      {
        file: master('shell/outbox.ts'),
        find: "else if (effect.when === 'committed') this.#release(effect);",
        replace: "else if (effect.when === 'committed') this.#carryOut(effect, this.#log.lastIndex);",
      },
    ],
  },
  {
    name: 'answer-before-barrier',
    what: 'a call is accepted although the leader may be deposed',
    edits: [
      {
        file: master('shell/outbox.ts'),
        find: "else if (effect.when === 'now') this.#carryOut(effect, this.#log.lastIndex);",
        replace: "else if (effect.when !== 'committed') this.#carryOut(effect, this.#log.lastIndex);",
      },
    ],
  },
  {
    name: 'relay-before-commit',
    what: 'an acknowledgement is relayed before the record of its update is committed',
    edits: [
      {
        file: master('core/on-acknowledge.ts'),
        find: "relayAcknowledgement(turn, agentId, key, uuid, 'committed');",
        replace:
          "turn.emit({ kind: 'commands', when: 'now' as never, agentName: turn.state.agents.get(agentId)?.agentName ?? '', message: { agentId, incarnation: turn.state.agents.get(agentId)?.incarnation ?? '', commands: [{ number: 0, acknowledgeUpdate: { task: key, uuid } }] } });",
      },
    ],
  },
  {
    name: 'resend-under-new-number',
    what: 'a launch that is sent again gets a number of its own',
    edits: [
      {
        file: master('core/commands.ts'),
        find: 'runTask: { framework: framework ?? null, task: launched.task, callId: launched.callId },',
        replace:
          '...(number <= link.sent && { number: agent.lastCommand + 1 }),\n    runTask: { framework: framework ?? null, task: launched.task, callId: launched.callId },',
      },
    ],
  },
  {
    name: 'ignore-kill-above-cursor',
    what: 'a launch is sent although its kill is committed',
    edits: [
      {
        file: master('core/commands.ts'),
        find: 'if (isEnded(state, link, task)) {',
        replace: 'if (isEnded(state, link, task) && !task.killIssued) {',
      },
    ],
  },
  {
    name: 'take-stale-allocation',
    what: 'an allocation that was judged before is judged again, and not against the books',
    edits: [
      {
        file: master('core/on-allocator.ts'),
        find: 'if (allocation.number <= allocators.allocationsSeen) continue;',
        replace: 'if (allocation.number <= 0) continue;',
      },
      {
        file: master('core/on-allocator.ts'),
        find: '(availableOf(state, agent), resources) === undefined',
        replace: '(agent.total, resources) === undefined',
      },
    ],
  },
  {
    name: 'forget-offer-on-decline',
    what: 'the resources of a declined offer are not given back',
    edits: [
      {
        file: master('core/on-accept.ts'),
        find: 'if (offer?.frameworkId !== turn.framework.id) continue; // rescinded meanwhile, or not its own\n    closeOffer(turn.state, offer);',
        replace: 'if (offer?.frameworkId !== turn.framework.id) continue;\n    turn.state.offers.delete(id);',
      },
    ],
  },
  {
    name: 'drop-failover-timer',
    what: 'a framework whose scheduler stays away is never removed',
    edits: [
      {
        file: master('core/on-liveness.ts'),
        find: 'if (link.awayMs >= timeoutMs + graceMs) removeFramework',
        replace: 'if (link.awayMs >= timeoutMs + graceMs * 1e6) removeFramework',
      },
    ],
  },
  {
    name: 'keep-offers-when-frozen',
    what: 'a leader that freezes does not rescind what it has offered',
    edits: [
      {
        file: master('core/index.ts'),
        find: "case 'frozen':",
        replace: "case 'frozen':\n      if (at > 0) break;",
      },
    ],
  },
  {
    name: 'accept-superseded-instance',
    what: 'a scheduler that another one has taken over from may still launch',
    edits: [
      {
        file: master('core/on-scheduler-call.ts'),
        find: 'else if (instanceId !== turn.call.instanceId || turn.call.generation < generation)',
        replace: 'else if (instanceId === turn.call.instanceId && turn.call.generation < generation)',
      },
    ],
  },
  {
    name: 'free-twice',
    what: 'a task that ends gives its resources back twice',
    edits: [
      {
        file: registry('core/ledger.ts'),
        find: 'holding.resources = rest ?? heldOn(agent, holding);',
        replace: 'holding.resources = (rest && trySubtract(rest, resources)) ?? rest ?? heldOn(agent, holding);',
      },
    ],
  },
  {
    name: 'obey-old-epochs',
    what: 'an agent obeys whoever speaks',
    edits: [
      {
        file: agent('core/obey.ts'),
        find: 'return order >= 0;',
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'forget-obeyed-epoch',
    what: 'an agent does not write down whom it has obeyed',
    edits: [
      {
        file: agent('core/obey.ts'),
        find: 'append(turn, { masterObeyed: { epoch: epoch.epoch, clusterIncarnation: epoch.incarnation } });',
        replace: 'turn.state.obeyed = { incarnation: epoch.incarnation, epoch: epoch.epoch };',
      },
    ],
  },
  {
    name: 'answer-before-durable',
    what: 'an agent confirms commands that are not on its disk yet',
    edits: [
      {
        file: agent('core/on-commands.ts'),
        find: "defer(turn, { kind: 'reply', deliveryId, cursor: state.cursor }, state.answerPosition);",
        replace: "turn.effects.push({ kind: 'reply', deliveryId, message: { cursor: state.cursor } });",
      },
    ],
  },
  {
    name: 'start-twice-after-crash',
    what: 'an agent that restarts starts what already runs',
    edits: [
      {
        file: agent('core/on-recovered.ts'),
        find: 'else if (found?.supervised === true) adopt(turn, launch, found);',
        replace:
          "else if (found?.supervised === true) {\n    launch.phase = 'accepted';\n    takeUpUnbegun(turn, launch);\n  }",
      },
    ],
  },
  {
    name: 'reuse-update-number',
    what: 'two updates of a launch have one number',
    edits: [
      {
        file: agent('core/make-update.ts'),
        find: 'const number = launch.latestNumber + 1;',
        replace:
          'const number = Math.max(1, launch.pending.length > 0 ? launch.latestNumber : launch.latestNumber + 1);',
      },
    ],
  },
  {
    name: 'keep-torn-tail',
    what: 'an agent appends to its journal behind what a crash left half written',
    edits: [
      {
        file: agent('shell/journal.ts'),
        find: 'const journal = new FileJournal({ ...options, disk, clock }, handle, records, end, bytes.length - end);',
        replace:
          'const journal = new FileJournal({ ...options, disk, clock }, handle, records, bytes.length, bytes.length - end);',
      },
    ],
  },
  {
    name: 'offer-what-drains',
    what: 'an agent that is deactivated or drains is offered, and launched on',
    edits: [
      {
        file: master('core/agents.ts'),
        find: 'if (record.drain) return Inactive.DRAINING;\n  if (record.deactivated) return Inactive.DEACTIVATED;',
        replace: '',
      },
    ],
  },
  {
    name: 'forget-drain-on-takeover',
    what: 'a new leader does not go on with the drains that it finds',
    edits: [
      {
        file: master('core/create-state.ts'),
        find: 'draining: new Set(agentsIn(ledger, ({ drain, drained, lifecycle }) => !!drain && !drained && lifecycle !== GONE)),',
        replace: 'draining: new Set<string>(),',
      },
    ],
  },
  {
    name: 'drain-without-kills',
    what: 'an agent that drains leaves its tasks to their own end',
    edits: [
      {
        file: agent('core/kills-of.ts'),
        find: 'return killsOfAll(state, () => true).map((kill) => ({ ...kill, graceMs: Math.min(kill.graceMs, limit) }));',
        replace: 'return killsOfAll(state, () => limit < 0);',
      },
    ],
  },
  {
    name: 'drained-too-early',
    what: 'a drain is over although ends of its tasks are not acknowledged',
    edits: [
      {
        file: master('core/drain.ts'),
        find: 'if (!isCompleted(task) && findLiveFramework(turn.state, task.frameworkId) !== undefined) return;',
        replace:
          'if (!isCompleted(task) && task.updateNumber === 0 && findLiveFramework(turn.state, task.frameworkId) !== undefined) return;',
      },
    ],
  },
  {
    name: 'take-gone-agents-back',
    what: 'an agent that was marked gone registers again',
    edits: [
      {
        file: master('core/on-register.ts'),
        find: 'if (state.goneKeys.has(register.registrationKey) || (other !== undefined && other !== known)) {',
        replace: 'if (other !== undefined && other !== known && other.record.lifecycle === ADMITTED) {',
      },
    ],
  },
  {
    name: 'gone-with-open-tasks',
    what: 'tasks of an agent that is marked gone stay as they were',
    edits: [
      {
        file: master('core/end-agent.ts'),
        find: 'findLiveFramework(state, task.frameworkId) && isOpen(task)',
        replace: 'findLiveFramework(state, task.frameworkId) && isOpen(task) && task.updateNumber < 0',
      },
    ],
  },
  {
    name: 'pretend-there-is-room',
    what: 'an agent takes for written what its full disk did not take',
    edits: [
      {
        file: agent('shell/journal.ts'),
        find: "this.#setRoom('full');\n          await this.#wait();",
        replace: 'return true;',
      },
    ],
  },
  {
    name: 'end-when-full',
    what: 'an agent whose disk is full gives up',
    edits: [
      {
        file: agent('shell/journal.ts'),
        find: "this.#setRoom('full');\n          await this.#wait();",
        replace: 'throw error;',
      },
    ],
  },
  {
    name: 'new-call-on-repeat',
    what: 'a call that got no answer is repeated under another id',
    edits: [
      {
        file: sdk('scheduler/call-lane.ts'),
        find: 'this.#continue(calls);',
        replace: "this.#continue(calls.map((call) => ({ ...call, id: call.id.concat('-again') })));",
      },
    ],
  },
  {
    name: 'executor-holds-on',
    what: 'the end of an executor is answered, and not written down',
    edits: [
      {
        file: master('core/executors.ts'),
        find: 'turn.commit([executorEnded(agent, executor)]);',
        replace: '',
      },
    ],
  },
  {
    name: 'tell-executor-twice',
    what: 'an executor that subscribes again is told again of the tasks that it knows',
    edits: [
      {
        file: agent('core/on-executor.ts'),
        find: "known.has(launch.taskId) ? 'running' : 'accepted'",
        replace: "'accepted'",
      },
    ],
  },
];
