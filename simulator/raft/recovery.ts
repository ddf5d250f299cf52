/**
 * The liveness phase: faults have ended, and each group has to become well: a leader, all operations decided, every member
 * up to date, no configuration left joint, and one last write answered. How long that may take says checkers/liveness.ts.
 */
import { FEATURE_LEVEL } from '../../protocols/features.ts'
import { SNAPSHOT_PART_BYTES } from '../../protocols/limits.ts'
import { isVoter, membersOf } from '../../protocols/raft/configuration.ts'
import * as logs from '../../protocols/raft/log.ts'
import { type Bounds, boundsOf } from './checkers/liveness.ts'
import { Client, WAITS_US } from './client.ts'
import type { Group } from './group.ts'
import type { Member } from './member.ts'
import type { Simulation } from './simulation.ts'

/** How often it is looked whether all is well again. */
const LOOK_US = 20_000

type Patient = {
  readonly group: Group
  readonly bounds: Bounds
  /** Since faults ended; undefined while nobody has led. */
  ledUs: number | undefined
  asked: boolean
  answered: boolean
}

/** From the end of faults until each group had a leader, and until all was well, in µs. */
export type Recovery = { readonly leaderUs: number; readonly wellUs: number }

/** Runs until all is well. @throws Violation when it takes too long. */
export function becomeWell(simulation: Simulation): Recovery {
  const { timeline, clients } = simulation
  const startUs = timeline.nowUs
  const patients = simulation.groups.map((group): Patient => ({
    group,
    bounds: boundsFor(simulation, group),
    ledUs: undefined,
    asked: false,
    answered: false,
  }))
  for (;;) {
    timeline.run(timeline.nowUs + LOOK_US)
    const forUs = timeline.nowUs - startUs
    for (const patient of patients) if (leaderOf(patient.group) !== undefined) patient.ledUs ??= forUs
    const led = patients.every(({ ledUs }) => ledUs !== undefined)
    if (led) for (const client of clients) client.stopped = true
    for (const patient of patients) finish(simulation, patient)
    const busy = clients.find((client) => client.busy)
    const all = patients.map((patient) => sickness(patient) ?? (busy && 'an operation is not decided'))
    if (all.every((sick) => sick === undefined)) {
      return { leaderUs: Math.max(...patients.map(({ ledUs = 0 }) => ledUs)), wellUs: forUs }
    }
    for (const [at, { group, bounds, ledUs }] of patients.entries()) {
      const healing = { group: group.name, forUs, bounds, led: ledUs !== undefined, sick: all[at] }
      group.checks.healing(healing)
    }
  }
}

function boundsFor({ setup }: Simulation, group: Group): Bounds {
  const members = group.alive()
  const { tickUs, network, disk, bounds } = setup
  const most = (of: (member: Member) => number): number => Math.max(...members.map(of))
  return boundsOf({
    electionUs: tickUs * most(({ raft }) => raft.timing.electionTicks),
    heartbeatUs: tickUs * most(({ raft }) => raft.timing.heartbeatTicks),
    delay: network.delay,
    disk,
    stateBytes: most((member) => member.bytes().length),
    partBytes: bounds.snapshotPartBytes ?? SNAPSHOT_PART_BYTES,
    clientUs: WAITS_US,
  })
}

/** Leaves a joint configuration that waits to be left, and asks for one last write. */
function finish(simulation: Simulation, patient: Patient): void {
  const { group } = patient
  const leader = leaderOf(group)
  if (leader === undefined) return
  const { votersOutgoing, autoLeave } = leader.raft.configuration
  if (votersOutgoing.length > 0 && !autoLeave) leader.change({ transition: 'auto', changes: [] })
  if (patient.asked) return
  patient.asked = true
  const { timeline, history } = simulation
  const dice = simulation.dice(`last ${group.name}`)
  const client = new Client(group, timeline, history, dice, () => simulation.nextValue())
  const ask = (): void =>
    client.ask({ kind: 'put', key: 'last', value: simulation.nextValue() }, (type) => {
      if (type === 'ok') patient.answered = true
      else ask()
    })
  ask()
}

/** Who leads now: of those who believe it, who is in the newest term and is followed by itself at least. */
function leaderOf(group: Group): Member | undefined {
  const [leader] = group.leaders()
  return leader !== undefined && isVoter(leader.raft.configuration, leader.id) ? leader : undefined
}

/** What is not well with a group, if anything. */
function sickness({ group, answered }: Patient): string | undefined {
  const leader = leaderOf(group)
  if (leader === undefined) return 'nobody leads'
  if (!answered) return 'a last write is not answered'
  const { log, configuration } = leader.raft
  const members = membersOf(configuration).map((id) => group.members.get(id))
  const isWhole = members.every((member) => member?.gone === false && member.host.up)
  if (isWhole && leader.state.level !== FEATURE_LEVEL) return `it is at level ${leader.state.level}`
  if (configuration.votersOutgoing.length > 0) return 'its configuration is joint'
  if (log.commit !== logs.lastIndex(log)) return `${leader.id} has not committed all that it has`
  for (const id of membersOf(configuration)) {
    const member = group.members.get(id)
    if (member === undefined || member.gone || !member.host.up) continue
    if (member.raft.leader !== leader.id) return `${id} follows ${member.raft.leader || 'nobody'}`
    if (member.machineIndex !== log.commit) return `${id} is at ${member.machineIndex} of ${log.commit}`
    if (member.halted !== undefined) return `${id} is halted at level ${member.halted}`
    if (member.digest !== leader.digest) return `${id} has another state`
  }
  return undefined
}
