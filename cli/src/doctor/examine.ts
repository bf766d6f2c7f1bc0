import { mesobus } from '@mesobus/protos';
import { type Diagnosis, diagnose, type Finding } from '@mesobus/registry/operations';
import type { NatsBus, Subjects } from '@mesobus/sdk/bus';
import { type Permission, type Role, tryPermissions } from './permissions.ts';

/** The leading master by its beat. */
export interface LeaderView {
  readonly masterId: string;
  readonly epoch: number;
  readonly phase: string;
  /** Of the last entry in the log. */
  readonly logIndex: number;
}

/** How far a registry is. */
export interface RegistryView {
  readonly registryId: string;
  readonly logIndex: number;
  readonly snapshotGeneration: number;
  readonly snapshotIndex: number;
}

/** All that `mesobus doctor` can tell. */
export interface Examination extends Diagnosis {
  readonly leader: LeaderView | undefined;
  readonly registries: readonly RegistryView[];
  readonly permissions: readonly Permission[];
}

export interface Patient {
  readonly bus: NatsBus;
  readonly subjects: Subjects;
  readonly principal: string;
  /** Where the NATS servers serve their monitoring. */
  readonly monitorPort: number;
  /** Whose permissions are tried. */
  readonly role: Role;
  /** False for credentials of a service, which asks nobody: registries and the leader are not asked then. */
  readonly mayAsk: boolean;
}

/** Looks at everything that a cluster stands on; changes nothing. */
export async function examine(patient: Patient): Promise<Examination> {
  const { bus, subjects, monitorPort, mayAsk } = patient;
  const [diagnosis, leader, registries] = await Promise.all([
    diagnose(bus.connection, subjects, monitorPort),
    hearLeader(bus, subjects),
    mayAsk ? askRegistries(patient) : [],
  ]);
  const permissions = await tryPermissions(patient, diagnosis.streams);
  const findings = [
    ...diagnosis.findings,
    ...(leader === undefined ? [nobodyLeads] : []),
    ...(mayAsk && registries.length === 0 ? [noRegistry] : []),
    ...permissions.flatMap(({ what, refused, mend }): Finding[] =>
      refused === '' ? [] : [{ severity: 'unfit', about: 'permissions', what: `cannot ${what}: ${refused}`, mend }],
    ),
  ];
  return { ...diagnosis, leader, registries, permissions, findings };
}

const nobodyLeads: Finding = {
  severity: 'warning',
  about: 'masters',
  what: 'nobody leads: nothing is decided until somebody does',
  mend: 'start a master; if one runs, its log says what it waits for',
};
const noRegistry: Finding = {
  severity: 'warning',
  about: 'registries',
  what: 'none answers: nothing can be read, and no snapshot is taken',
  mend: 'start a registry; if one runs, its log says how far it is',
};

/** Some of the leader's beats, which come every 300 ms. */
const beatWaitMs = 2_000;

function hearLeader(bus: NatsBus, { leader }: Subjects): Promise<LeaderView | undefined> {
  return new Promise((resolve) => {
    const late = setTimeout(() => end(undefined), beatWaitMs);
    const beats = bus.serve(leader, ({ message: { masterId, phase, lastLogIndex: logIndex }, epoch: { epoch } }) =>
      end({ masterId, epoch, phase: mesobus.v1.LeaderBeat.Phase[phase] ?? String(phase), logIndex }),
    );
    const end = (view: LeaderView | undefined): void => {
      clearTimeout(late);
      beats.stop();
      resolve(view);
    };
  });
}

/** One of them answers each question: with so many, each has most likely answered one. */
const questions = 16;
const questionTimeoutMs = 2_000;

async function askRegistries({ bus, subjects, principal }: Patient): Promise<RegistryView[]> {
  const ask = () =>
    bus.request(subjects.registryQuery.of(principal), { getStatus: {} }, { timeoutMs: questionTimeoutMs });
  const answers = await Promise.allSettled(Array.from({ length: questions }, ask));
  const views = answers.flatMap((answer): RegistryView[] => {
    const status = answer.status === 'fulfilled' ? answer.value.message.status : null;
    if (!status) return [];
    const { registryId, logIndex, snapshotGeneration, snapshotIndex } = status;
    return [{ registryId, logIndex, snapshotGeneration, snapshotIndex }];
  });
  return [...new Map(views.map((view) => [view.registryId, view])).values()];
}
