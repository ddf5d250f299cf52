/**
 * What one peer holds of the mesh's members, and the few ways in which that changes. Plain data, changed by `step`
 * (membership.ts) alone.
 */
import type { Dice } from '../clock.ts'
import type { PeerId } from '../ids.ts'
import { HEALTH_MAX, WATCHERS } from '../limits.ts'
import { hashOf, type Member, type Standing, updateOf, watches } from './member.ts'
import type { Message, Update } from './messages.ts'
import type { Probe } from './probe.ts'
import { type Rumours, spread, take } from './rumours.ts'
import { newSuspicion } from './suspicion.ts'

export type Membership = {
  readonly self: PeerId
  incarnation: number
  /** Lifeguard's local health: how much this peer distrusts itself, 0..HEALTH_MAX. */
  health: number
  nowMs: number
  readonly members: Map<PeerId, Member>
  readonly connected: Set<PeerId>
  readonly rumours: Rumours
  readonly probes: Map<number, Probe>
  /** Probes made for others, by the sequence number of our ping. */
  readonly errands: Map<number, Errand>
  /** Members whose state will change with time alone. */
  readonly doubtful: Set<PeerId>
  /** Members to probe before anybody's turn. */
  readonly urgent: Set<PeerId>
  /** Whom this peer watches; undefined when it must be worked out again. */
  watched: PeerId[] | undefined
  /** Who is left of the present round of the watched, and of everybody. */
  readonly turns: { watched: PeerId[]; everybody: PeerId[] }
  round: number
  nextRoundMs: number
  nextRumourMs: number
  seq: number
}

type Errand = { readonly asker: PeerId; readonly seq: number; readonly target: PeerId; untilMs: number }

export type Effect =
  /** On a connection that exists; never a reason to dial. */
  | { readonly kind: 'send'; readonly to: PeerId; readonly message: Message }
  | { readonly kind: 'change'; readonly peer: PeerId; readonly state: Standing; readonly incarnation: number }

/** A connection that went down this recently is a way to the peer that failed. */
const DROPPED_MS = 60_000
const SEQ_END = 2 ** 32

/** `incarnation`: 0, or above what an earlier life of this peer is known to have used. */
export function newMembership(
  start: { self: PeerId; incarnation: number; nowMs: number },
  dice: Dice,
): Membership {
  return {
    ...start,
    health: 0,
    members: new Map(),
    connected: new Set(),
    rumours: new Map(),
    probes: new Map(),
    errands: new Map(),
    doubtful: new Set(),
    urgent: new Set(),
    watched: undefined,
    turns: { watched: [], everybody: [] },
    round: 0,
    nextRoundMs: start.nowMs,
    nextRumourMs: start.nowMs,
    // Starts anywhere, so that an answer to an earlier life of this peer is none to this one.
    seq: Math.floor(dice() * SEQ_END),
  }
}

export const nextSeq = (m: Membership): number => (m.seq = (m.seq + 1) % SEQ_END)

/** Takes a claim that is newer than what is held. */
export function become(m: Membership, member: Member, claim: Omit<Update, 'peer'>, out: Effect[]): void {
  const changed = member.state !== claim.state
  member.incarnation = claim.incarnation
  member.suspicion =
    claim.state === 'suspect' ? newSuspicion(claim.by ?? m.self, inSight(m), m.nowMs) : undefined
  if (changed) {
    member.state = claim.state
    member.sinceMs = m.nowMs
    out.push({ kind: 'change', peer: member.peer, state: claim.state, incarnation: claim.incarnation })
  }
  if (claim.state === 'suspect' || claim.state === 'unreachable') m.doubtful.add(member.peer)
  else m.doubtful.delete(member.peer)
  // Whoever watches a suspect finds out for itself, and tells it: a quick confirmation, or a quick refutation.
  if (claim.state === 'suspect' && watchedOf(m).includes(member.peer)) m.urgent.add(member.peer)
  spread(m.rumours, member.peer, 'new')
}

function inSight(m: Membership): number {
  let count = 1
  for (const { state } of m.members.values()) if (state !== 'lost' && state !== 'unreachable') count++
  return count
}

/** The connected peers that the hash gives this one to watch. */
export function watchedOf(m: Membership): PeerId[] {
  if (m.watched !== undefined) return m.watched
  const near = [...m.connected].flatMap((peer) => m.members.get(peer) ?? [])
  const hashes = near.map(({ hash }) => hash)
  const self = hashOf(m.self)
  m.watched = near.filter(({ hash }) => watches(self, hash, hashes, WATCHERS)).map(({ peer }) => peer)
  m.turns.watched = []
  return m.watched
}

/** Whether our own way to a peer has just failed. */
export const dropped = (m: Membership, member: Member | undefined): boolean =>
  member?.droppedMs !== undefined && m.nowMs - member.droppedMs < DROPPED_MS

/** Lifeguard's local health: worse by what went wrong here, better by each probe that was answered. */
export function feel(m: Membership, change: number): void {
  m.health = Math.max(0, Math.min(HEALTH_MAX, m.health + change))
}

/** Adds the news: what is said of the receiver first, then of `about`, then what was said least often. */
export function send(m: Membership, to: PeerId, message: Message, about?: PeerId): Effect {
  const said = (peer: PeerId): Update | undefined => {
    if (peer === m.self) return { peer, state: 'alive', incarnation: m.incarnation }
    const member = m.members.get(peer)
    return member && updateOf(member)
  }
  const doubted = m.members.get(to)?.state !== 'alive'
  const first = [...(doubted ? [to] : []), ...(about === undefined ? [] : [about])]
  return {
    kind: 'send',
    to,
    message: { ...message, news: take(m.rumours, to, first, m.members.size + 1, said) },
  }
}
