/**
 * What is held about one member, and which of two rumours about it wins: the higher incarnation, then the worse state.
 * So only the member itself, by a new incarnation, takes back what others say of it. A member that nobody has heard of in
 * this life is `unknown`, which every rumour beats.
 */
import type { PeerId } from '../ids.ts'
import type { State, Update } from './messages.ts'
import type { Suspicion } from './suspicion.ts'

export type Standing = State | 'unknown'

export type Member = {
  readonly peer: PeerId
  /** Of its id: its place among the watchers. */
  readonly hash: number
  state: Standing
  incarnation: number
  /** When the state began. */
  sinceMs: number
  /** When it was last heard itself; undefined before that. */
  heardMs: number | undefined
  /** When its connection to us last went down; undefined while it is up, or was never. */
  droppedMs: number | undefined
  /** Only while it is suspect. */
  suspicion: Suspicion | undefined
}

const RANK: { readonly [S in Standing]: number } = {
  unknown: 0,
  alive: 1,
  suspect: 2,
  unreachable: 3,
  lost: 4,
}

type Claim = { readonly state: Standing; readonly incarnation: number }

/** Positive when `a` is the newer word on a member, 0 when both say the same, negative when `b` is. */
export function compareClaims(a: Claim, b: Claim): number {
  if (a.state === 'unknown' || b.state === 'unknown')
    return Number(b.state === 'unknown') - Number(a.state === 'unknown')
  return a.incarnation - b.incarnation || RANK[a.state] - RANK[b.state]
}

/** What a member's rumour looks like on the wire; nothing is said of one that is unknown. */
export function updateOf(member: Member): Update | undefined {
  const { peer, state, incarnation, suspicion } = member
  if (state === 'unknown') return undefined
  const by = state === 'suspect' ? suspicion?.by.at(-1) : undefined
  return by === undefined ? { peer, state, incarnation } : { peer, state, incarnation, by }
}

/** FNV-1a. */
export function hashOf(peer: PeerId): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < peer.length; i++) hash = Math.imul(hash ^ peer.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/**
 * Whether `watcher` is one of the `count` watchers of `peer`, of all `candidates` (itself among them or not): rendezvous
 * hashing, so peers that see the same candidates agree without a word, and one that comes or goes moves few others.
 */
export function watches(
  watcher: number,
  peer: number,
  candidates: readonly number[],
  count: number,
): boolean {
  const own = distance(watcher, peer)
  let nearer = 0
  for (const candidate of candidates) {
    if (candidate === watcher || candidate === peer) continue
    if (distance(candidate, peer) < own && ++nearer >= count) return false
  }
  return true
}

/** murmur3's finaliser over both. */
function distance(watcher: number, peer: number): number {
  let x = watcher ^ Math.imul(peer, 0x9e3779b1)
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}
