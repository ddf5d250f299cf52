/**
 * Who is in sight: SWIM with Lifeguard's three remedies (local health, suspicion that shrinks with independent
 * confirmations, tell the suspect first). It observes, and decides nothing: only Raft acts on what it says.
 *
 *   unknown ─heard of─▶ alive ─a probe failed─▶ suspect ─time is up─▶ unreachable ─LOST_MS─▶ lost
 *                         ▲───────── a new incarnation, which only the member itself makes ─────────┘
 *
 * Who the members are comes from outside (admitted peers). Probes ride on connections that exist and never dial: each
 * peer is watched closely by the few of those connected to it that a hash chooses, and now and then by anybody.
 * Invariant: an incarnation of this peer never goes back within its life, and nobody else raises it.
 */
import type { Dice } from '../clock.ts'
import type { PeerId } from '../ids.ts'
import { LOOP_DELAY_MS, PING_MS, PROBES_FOR_OTHERS_MAX } from '../limits.ts'
import { compareClaims, hashOf, type Member } from './member.ts'
import type { Message, Update } from './messages.ts'
import { hearNack, mayAnswer } from './probe.ts'
import { tick } from './rounds.ts'
import { spread } from './rumours.ts'
import { become, dropped, type Effect, feel, type Membership, nextSeq, send } from './state.ts'
import { confirm } from './suspicion.ts'

export type Event =
  /** Everybody who is admitted; this peer may be among them. */
  | { readonly kind: 'members'; readonly peers: readonly PeerId[] }
  | { readonly kind: 'connection'; readonly peer: PeerId; readonly up: boolean }
  | { readonly kind: 'message'; readonly from: PeerId; readonly message: Message }
  /** At least four times a second: nothing here has a finer grain. */
  | { readonly kind: 'tick'; readonly nowMs: number }
  /** The longest delay of this process's event loop since the last such event. */
  | { readonly kind: 'delay'; readonly ms: number }

/** Whoever was heard this recently is not unreachable, whatever others say: at most it is a suspect. */
const FRESH_MS = 5_000

/** Advances by one event; returns what the driver must now do, in order. */
export function step(m: Membership, event: Event, dice: Dice): Effect[] {
  const out: Effect[] = []
  switch (event.kind) {
    case 'members':
      admit(m, event.peers, out)
      break
    case 'connection':
      connection(m, event.peer, event.up, out)
      break
    case 'message':
      if (m.members.has(event.from)) hearMessage(m, event.from, event.message, out)
      break
    case 'tick':
      tick(m, event.nowMs, dice, out)
      break
    case 'delay':
      if (event.ms > LOOP_DELAY_MS) feel(m, 1)
      break
  }
  return out
}

function admit(m: Membership, peers: readonly PeerId[], out: Effect[]): void {
  const admitted = new Set(peers)
  for (const peer of m.members.keys()) if (!admitted.has(peer)) forget(m, peer)
  for (const peer of admitted) {
    if (peer === m.self || m.members.has(peer)) continue
    const member: Member = {
      peer,
      hash: hashOf(peer),
      state: 'unknown',
      incarnation: 0,
      sinceMs: m.nowMs,
      heardMs: undefined,
      droppedMs: undefined,
      suspicion: undefined,
    }
    m.members.set(peer, member)
    if (m.connected.has(peer)) heardItself(m, member, out)
  }
  m.watched = undefined
}

function forget(m: Membership, peer: PeerId): void {
  m.members.delete(peer)
  m.doubtful.delete(peer)
  m.urgent.delete(peer)
  m.rumours.delete(peer)
  for (const [seq, probe] of m.probes) if (probe.target === peer) m.probes.delete(seq)
}

function connection(m: Membership, peer: PeerId, up: boolean, out: Effect[]): void {
  if (up === m.connected.has(peer)) return
  m.watched = undefined
  if (up) m.connected.add(peer)
  else m.connected.delete(peer)
  const member = m.members.get(peer)
  if (member === undefined) return
  member.droppedMs = up ? undefined : m.nowMs
  if (up) heardItself(m, member, out)
  // Up: its incarnation is asked for, and it hears what is said of it. Down: perhaps a crash, so others are asked at once.
  m.urgent.add(peer)
}

function hearMessage(m: Membership, from: PeerId, message: Message, out: Effect[]): void {
  const sender = m.members.get(from) as Member
  heardItself(m, sender, out)
  for (const update of message.news) hear(m, from, update, out)

  switch (message.kind) {
    case 'ping':
      out.push(send(m, from, { kind: 'ack', seq: message.seq, incarnation: m.incarnation, news: [] }))
      return

    case 'ping-req':
      runErrand(m, from, message.seq, message.target, out)
      return

    case 'ack': {
      const errand = m.errands.get(message.seq)
      if (errand?.target === from) {
        m.errands.delete(message.seq)
        hear(m, from, { peer: from, state: 'alive', incarnation: message.incarnation }, out)
        const { asker, seq } = errand
        out.push(send(m, asker, { kind: 'ack', seq, incarnation: message.incarnation, news: [] }))
      }
      const probe = m.probes.get(message.seq)
      if (probe === undefined || !mayAnswer(probe, from)) return
      m.probes.delete(message.seq)
      feel(m, -1)
      hear(m, from, { peer: probe.target, state: 'alive', incarnation: message.incarnation }, out)
      return
    }

    case 'nack': {
      const probe = m.probes.get(message.seq)
      if (probe !== undefined) hearNack(probe, from, message.tried)
    }
  }
}

/** First-hand news: a frame, or a connection that came up. It ends no suspicion: only a new incarnation does. */
function heardItself(m: Membership, member: Member, out: Effect[]): void {
  member.heardMs = m.nowMs
  if (member.state === 'unknown') become(m, member, { state: 'alive', incarnation: 0 }, out)
}

/** One rumour, from `from`. */
function hear(m: Membership, from: PeerId, update: Update, out: Effect[]): void {
  if (update.peer === m.self) return hearOfSelf(m, update)
  const member = m.members.get(update.peer)
  if (member === undefined) return

  const fresh = member.heardMs !== undefined && m.nowMs - member.heardMs < FRESH_MS
  const gone = update.state === 'unreachable' || update.state === 'lost'
  const claim: Update = gone && fresh ? { ...update, state: 'suspect', by: from } : update
  const newer = compareClaims(claim, member)
  if (newer > 0) become(m, member, claim, out)
  else if (newer < 0) spread(m.rumours, member.peer, 'again')
  else if (claim.state === 'suspect' && member.suspicion !== undefined) {
    if (confirm(member.suspicion, claim.by ?? from)) spread(m.rumours, member.peer, 'new')
  }
}

/** What others hold against this peer is taken back by a new incarnation; that they had reason to says: be patient. */
function hearOfSelf(m: Membership, { state, incarnation }: Update): void {
  const older = incarnation < m.incarnation
  if (state === 'alive') {
    // From an earlier life of this peer: what it says now must be newer.
    if (incarnation > m.incarnation) refute(m, incarnation)
    else if (older) spread(m.rumours, m.self, 'again')
    return
  }
  if (older) return spread(m.rumours, m.self, 'again')
  refute(m, incarnation)
  feel(m, 1)
}

function refute(m: Membership, incarnation: number): void {
  m.incarnation = incarnation + 1
  spread(m.rumours, m.self, 'new')
}

function runErrand(m: Membership, asker: PeerId, seq: number, target: PeerId, out: Effect[]): void {
  if (target === m.self) {
    out.push(send(m, asker, { kind: 'ack', seq, incarnation: m.incarnation, news: [] }))
  } else if (m.connected.has(target) && m.members.has(target) && m.errands.size < PROBES_FOR_OTHERS_MAX) {
    const own = nextSeq(m)
    m.errands.set(own, { asker, seq, target, untilMs: m.nowMs + PING_MS * (m.health + 1) })
    out.push(send(m, target, { kind: 'ping', seq: own, news: [] }))
  } else {
    const tried = dropped(m, m.members.get(target))
    out.push(send(m, asker, { kind: 'nack', seq, tried, news: [] }))
  }
}
