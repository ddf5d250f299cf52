/**
 * Linearizable reads (ReadIndex, Raft thesis 6.4). The leader numbers rounds of heartbeats with *read positions* that it
 * makes itself and that only grow within its term. A read takes the current commit index and the next position; once a
 * quorum has acknowledged that position, nobody else led when the read came in, and the read may be answered by any state
 * machine that has applied that index. One round at a time: reads that come up meanwhile share the next.
 *
 * Askers' own numbers never confirm anything, so a late or repeated acknowledgement cannot answer a later read. A read
 * that cannot be answered is refused when the leader changes; it never hangs.
 */
import { votersOf } from './configuration.ts'
import type { MemberId } from './member.ts'
import { READS_MAX } from '../limits.ts'
import { termAt } from './log.ts'
import type { MessageOf } from './messages.ts'
import { committedIndex } from './quorum.ts'
import { type Asker, type Raft, refuse, send } from './state.ts'
import type { RaftEffect } from './types.ts'

export function read(raft: Raft, token: number): void {
  const { reading, role, leader } = raft
  if (waiting(raft) + reading.forwarded.size + reading.ready.length >= READS_MAX) {
    return refuse(raft, token, 'busy')
  }
  if (role === 'leader') return take(raft, { kind: 'local', token })
  // Who is halted never gets to the index that it would be told.
  if (leader === '' || raft.isHalted) return refuse(raft, token, 'not-leader')
  const serial = reading.nextSerial++
  reading.forwarded.set(serial, token)
  ask(raft, serial)
}

/** Leader: a follower asks. Repeated questions are new reads; the asker takes the first answer. */
export function hearReadIndex(raft: Raft, { from: peer, life, serial }: MessageOf<'MsgReadIndex'>): void {
  if (raft.role === 'leader' && waiting(raft) < READS_MAX) {
    return take(raft, { kind: 'remote', peer, life, serial })
  }
  send(raft, { kind: 'MsgReadIndexResp', to: peer, life, serial, index: 0, reject: true })
}

export function hearReadIndexResp(raft: Raft, message: MessageOf<'MsgReadIndexResp'>): void {
  const { reading, life } = raft
  const token = message.life === life ? reading.forwarded.get(message.serial) : undefined
  if (token === undefined) return
  reading.forwarded.delete(message.serial)
  if (message.reject) refuse(raft, token, 'no-op')
  else reading.ready.push({ token, index: message.index })
}

/** Follower, once per heartbeat interval: question or answer may have been lost. */
export function askAgain(raft: Raft): void {
  for (const serial of raft.reading.forwarded.keys()) ask(raft, serial)
}

function ask(raft: Raft, serial: number): void {
  send(raft, { kind: 'MsgReadIndex', to: raft.leader, life: raft.life, serial })
}

const waiting = ({ reading }: Raft): number => reading.pending.length + reading.postponed.length

/** Until an entry of its own term is committed a leader does not know what its predecessors committed. */
export const hasCommittedInTerm = ({ log, term }: Raft): boolean => termAt(log, log.commit) === term

function take(raft: Raft, asker: Asker): void {
  const { reading, log, config } = raft
  if (!hasCommittedInTerm(raft)) return void reading.postponed.push(asker)
  // Nobody else led while CheckQuorum held, if clocks are to be believed.
  if (config.readOnly === 'lease-based') return answer(raft, log.commit, asker)
  reading.pending.push({ position: reading.asked + 1, index: log.commit, asker })
  if (reading.confirmed === reading.asked) nextRound(raft)
}

/** Something was committed: if it was the first of this leader's term, reads that waited for it begin. */
export function releasePostponed(raft: Raft): void {
  if (raft.reading.postponed.length === 0 || !hasCommittedInTerm(raft)) return
  for (const asker of raft.reading.postponed.splice(0)) take(raft, asker)
}

function nextRound(raft: Raft): void {
  if (!advanced(raft)) return
  for (const peer of votersOf(raft.configuration)) sendHeartbeat(raft, peer)
  recount(raft)
}

/** Heartbeats to everybody; they carry the newest position, so a round that was lost is repeated by the next. */
export function broadcastHeartbeat(raft: Raft): void {
  advanced(raft)
  for (const peer of raft.progress.keys()) sendHeartbeat(raft, peer)
}

function advanced({ reading }: Raft): boolean {
  const waits = (reading.pending.at(-1)?.position ?? 0) > reading.asked
  if (waits) reading.asked++
  return waits
}

function sendHeartbeat(raft: Raft, peer: MemberId): void {
  const progress = raft.progress.get(peer)
  if (peer === raft.config.self || progress === undefined) return
  const commit = Math.min(progress.match, raft.log.commit)
  send(raft, { kind: 'MsgHeartbeat', to: peer, commit, read: raft.reading.asked, beat: ++raft.beats })
}

/** Leader: a member has acknowledged a position. */
export function acknowledgePosition(raft: Raft, peer: MemberId, position: number): void {
  const progress = raft.progress.get(peer)
  if (progress === undefined || position <= progress.read) return
  progress.read = position
  recount(raft)
}

/** Counts who has acknowledged what: also after a change of who counts. */
export function recount(raft: Raft): void {
  const { reading, configuration, progress, config } = raft
  const reached = (peer: MemberId): number =>
    peer === config.self ? reading.asked : (progress.get(peer)?.read ?? 0)
  const confirmed = Math.min(reading.asked, committedIndex(configuration, reached))
  if (confirmed <= reading.confirmed) return
  reading.confirmed = confirmed
  const open = reading.pending.findIndex(({ position }) => position > confirmed)
  const done = reading.pending.splice(0, open === -1 ? reading.pending.length : open)
  for (const { index, asker } of done) answer(raft, index, asker)
  nextRound(raft)
}

function answer(raft: Raft, index: number, asker: Asker): void {
  if (asker.kind === 'local') {
    raft.reading.ready.push({ token: asker.token, index })
  } else {
    const { peer, life, serial } = asker
    send(raft, { kind: 'MsgReadIndexResp', to: peer, life, serial, index, reject: false })
  }
}

/** Reads whose index the state machine has reached. */
export function takeReady({ reading, log }: Raft): RaftEffect[] {
  if (reading.ready.length === 0) return []
  const done = reading.ready.filter(({ index }) => index <= log.applied)
  reading.ready = reading.ready.filter(({ index }) => index > log.applied)
  return done.map(({ token, index }) => ({ kind: 'read-ready', token, index }))
}

/** The leader or the term has changed: whoever waits is told at once, and asks again. */
export function failReads(raft: Raft): void {
  const { reading } = raft
  const tokens = [
    ...[...reading.postponed, ...reading.pending.map(({ asker }) => asker)].flatMap((asker) =>
      asker.kind === 'local' ? [asker.token] : [],
    ),
    ...reading.forwarded.values(),
    ...reading.ready.map(({ token }) => token),
  ]
  Object.assign(reading, { asked: 0, confirmed: 0, postponed: [], pending: [], ready: [] })
  reading.forwarded.clear()
  for (const token of tokens) refuse(raft, token, 'not-leader')
}
