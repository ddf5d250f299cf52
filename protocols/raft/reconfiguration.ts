/**
 * Changes of who is in the group, as the leader proposes them and every member puts them in force (Raft section 6; rules in
 * confchange.ts). One change at a time; a joint configuration that leaves by itself is left by a change that the leader
 * proposes once its state machine has seen the joint one.
 */
import { LEARNERS_MAX, VOTERS_MAX } from '../limits.ts'
import { changed } from './confchange.ts'
import { decodeChange, encodeChange, isLeaveJoint, isVoter } from './configuration.ts'
import * as logs from './log.ts'
import { hasCommittedInTerm, recount } from './reading.ts'
import {
  accept,
  advanceCommit,
  append,
  broadcastAppend,
  followMembers,
  mayPropose,
  sendAppend,
} from './replication.ts'
import { becomeFollower, drawElectionTimeout } from './roles.ts'
import { type Raft, refuse } from './state.ts'
import type { ConfigurationChange } from './types.ts'

export function proposeChange(raft: Raft, token: number, change: ConfigurationChange): void {
  const data = encodeChange(change)
  if (!mayPropose(raft, token, data)) return
  if (raft.config.disableConfChangeValidation !== true) {
    // Without an entry of its own term committed, an older change may still come back to life (Ongaro's erratum, 2015).
    if (!hasCommittedInTerm(raft)) return refuse(raft, token, 'no-op')
    if (raft.lastChangeIndex > raft.log.applied) return refuse(raft, token, 'change-pending')
    const fault = faultOf(raft, change)
    if (fault !== undefined) return refuse(raft, token, 'change-invalid', fault)
  }
  raft.lastChangeIndex = accept(raft, token, 'configuration', data)
  broadcastAppend(raft)
}

function faultOf({ configuration }: Raft, change: ConfigurationChange): string | undefined {
  const isJoint = configuration.votersOutgoing.length > 0
  if (isJoint && !isLeaveJoint(change)) return 'must transition out of joint config first'
  if (!isJoint && change.changes.length === 0) return 'not in joint state; refusing empty conf change'
  const outcome = changed(configuration, change)
  if ('refused' in outcome) return outcome.refused
  const { voters, learners, learnersNext } = outcome.configuration
  if (voters.length > VOTERS_MAX) return `more than ${VOTERS_MAX} voters`
  return learners.length + learnersNext.length > LEARNERS_MAX
    ? `more than ${LEARNERS_MAX} learners`
    : undefined
}

/** An entry is in force from here on. One that breaks a rule changes nothing, on any member. */
export function switchConfiguration(raft: Raft, index: number, data: Uint8Array): void {
  const outcome = changed(raft.configuration, decodeChange(data))
  if ('refused' in outcome) return
  raft.configuration = outcome.configuration
  raft.configurations.push({ index, configuration: raft.configuration })
  if (raft.role === 'leader') leadOn(raft)
  // Another place in line.
  else if (raft.timing.staggerTicks !== undefined) drawElectionTimeout(raft)
}

function leadOn(raft: Raft): void {
  const { config, configuration, log } = raft
  const isSeated = isVoter(configuration, config.self)
  if (!isSeated && config.stepDownOnRemoval !== false) return becomeFollower(raft, raft.term, '')
  if (!configuration.voters.includes(raft.transferee)) raft.transferee = ''
  // A new member counts as heard until the next look at the quorum, so that its coming unseats nobody.
  followMembers(raft, Math.max(1, logs.lastIndex(log)), true)
  if (!isSeated) return
  // New ones are probed at once; and fewer votes may be needed for what was waiting for them.
  if (!advanceCommit(raft)) for (const member of raft.progress.keys()) sendAppend(raft, member, false)
  recount(raft)
}

/** The state machine has come to `applied`: a joint configuration that is to leave by itself is left. */
export function leaveJoint(raft: Raft): void {
  const { configuration, role, transferee, lastChangeIndex, log } = raft
  if (!configuration.autoLeave || role !== 'leader' || lastChangeIndex > log.applied) return
  // Whoever leads after the transfer leaves it; or this one, when the transfer is over.
  if (transferee !== '') return
  raft.lastChangeIndex = append(raft, 'configuration', new Uint8Array())
  broadcastAppend(raft)
}
