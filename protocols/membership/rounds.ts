/** What this peer finds out by itself: one probe in each period, more when there is reason, and what time does to members. */
import type { Dice } from '../clock.ts'
import type { PeerId } from '../ids.ts'
import { LOST_MS, PROBE_MS, PROBE_RELAYS, PROBES_MAX, RUMOUR_MS, RUMOUR_PEERS } from '../limits.ts'
import type { Member } from './member.ts'
import { judge, newProbe, type Probe, settled } from './probe.ts'
import { pressing, spread } from './rumours.ts'
import { become, dropped, type Effect, feel, type Membership, nextSeq, send, watchedOf } from './state.ts'
import { confirm, remainingMs } from './suspicion.ts'

/** One probe in this many goes to anybody's turn, so that a peer whom the hash gave no watcher is seen as well. */
const EVERYBODY_EVERY = 4
/** Between two ticks more than this: the process or its machine was stopped, and what it did not hear proves nothing. */
const SLEPT_MS = 1_000

export function tick(m: Membership, nowMs: number, dice: Dice, out: Effect[]): void {
  const gap = nowMs - m.nowMs
  m.nowMs = nowMs
  if (gap > SLEPT_MS) forgive(m, gap)

  for (const [seq, errand] of m.errands) {
    if (nowMs < errand.untilMs) continue
    m.errands.delete(seq)
    out.push(send(m, errand.asker, { kind: 'nack', seq: errand.seq, tried: true, news: [] }))
  }
  for (const [seq, probe] of m.probes) {
    if (nowMs >= probe.untilMs || settled(probe)) {
      m.probes.delete(seq)
      conclude(m, probe, out)
    } else if (probe.phase === 'direct' && nowMs >= probe.directUntilMs) {
      probe.phase = 'indirect'
      askOthers(m, probe, dice, out)
    }
  }
  for (const peer of m.doubtful) age(m, m.members.get(peer) as Member, out)
  probeUrgent(m, dice, out)
  if (nowMs >= m.nextRumourMs && pressing(m.rumours)) {
    m.nextRumourMs = nowMs + RUMOUR_MS
    for (const peer of shuffle([...m.connected], dice).slice(0, RUMOUR_PEERS)) {
      out.push(send(m, peer, { kind: 'gossip', news: [] }))
    }
  }
  if (nowMs < m.nextRoundMs) return
  // The dice keep peers that started together from probing in step.
  m.nextRoundMs = nowMs + PROBE_MS * (m.health + 0.9 + 0.2 * dice())
  const target = nextTarget(m, dice)
  if (target !== undefined) probe(m, target, dice, out)
}

/** Time in which this peer did not run is nobody's silence. */
function forgive(m: Membership, gapMs: number): void {
  for (const probe of m.probes.values()) {
    probe.directUntilMs += gapMs
    probe.untilMs += gapMs
  }
  for (const errand of m.errands.values()) errand.untilMs += gapMs
  for (const { suspicion } of m.members.values()) if (suspicion !== undefined) suspicion.startMs += gapMs
  feel(m, 1)
}

/** What time alone does to a member. */
function age(m: Membership, member: Member, out: Effect[]): void {
  const { state, incarnation, suspicion, sinceMs } = member
  if (state === 'suspect' && suspicion !== undefined && remainingMs(suspicion, m.nowMs) <= 0) {
    become(m, member, { state: 'unreachable', incarnation }, out)
  } else if (state === 'unreachable' && m.nowMs - sinceMs >= LOST_MS) {
    become(m, member, { state: 'lost', incarnation }, out)
  }
}

function probeUrgent(m: Membership, dice: Dice, out: Effect[]): void {
  for (const peer of m.urgent) {
    if (m.probes.size >= PROBES_MAX) return
    m.urgent.delete(peer)
    const member = m.members.get(peer)
    if (member !== undefined && mayProbe(m, member)) probe(m, member, dice, out)
  }
}

function nextTarget(m: Membership, dice: Dice): Member | undefined {
  if (m.probes.size >= PROBES_MAX) return undefined
  const everybody = m.round++ % EVERYBODY_EVERY === 0
  return (
    turn(m, everybody ? 'everybody' : 'watched', dice) ?? turn(m, everybody ? 'watched' : 'everybody', dice)
  )
}

/** The next in a round that each has one turn in, in an order thrown anew for each round. */
function turn(m: Membership, whose: keyof Membership['turns'], dice: Dice): Member | undefined {
  for (let refilled = false; ;) {
    const peer = m.turns[whose].pop()
    if (peer === undefined) {
      if (refilled) return undefined
      refilled = true
      m.turns[whose] = shuffle(whose === 'watched' ? watchedOf(m) : [...m.members.keys()], dice)
      continue
    }
    const member = m.members.get(peer)
    if (member !== undefined && mayProbe(m, member)) return member
  }
}

/** A peer without a connection is probed through others, as long as it is thought to be there. */
function mayProbe(m: Membership, member: Member): boolean {
  const { peer, state } = member
  for (const { target } of m.probes.values()) if (target === peer) return false
  if (m.connected.has(peer)) return true
  return (m.connected.size > 0 || dropped(m, member)) && (state === 'alive' || state === 'suspect')
}

function probe(m: Membership, member: Member, dice: Dice, out: Effect[]): void {
  const { peer } = member
  const seq = nextSeq(m)
  const connected = m.connected.has(peer)
  const tried = connected || dropped(m, member)
  const made = newProbe({ target: peer, seq, nowMs: m.nowMs, stretch: m.health + 1, connected, tried })
  m.probes.set(seq, made)
  if (connected) out.push(send(m, peer, { kind: 'ping', seq, news: [] }, someone(m, dice)))
  else askOthers(m, made, dice, out)
}

function askOthers(m: Membership, probe: Probe, dice: Dice, out: Effect[]): void {
  const { seq, target } = probe
  const others = [...m.connected].filter((peer) => peer !== target && m.members.get(peer)?.state === 'alive')
  for (const relay of shuffle(others, dice).slice(0, PROBE_RELAYS)) {
    probe.relays.set(relay, 'asked')
    out.push(send(m, relay, { kind: 'ping-req', seq, target, news: [] }, target))
  }
}

function conclude(m: Membership, probe: Probe, out: Effect[]): void {
  const { outcome, health } = judge(probe)
  const member = m.members.get(probe.target)
  // That one who is known to be gone does not answer says nothing new, of it or of this peer.
  if (member === undefined || member.state === 'unreachable' || member.state === 'lost') return
  feel(m, health)
  if (outcome === 'unclear') return
  const { state, incarnation } = member
  if (state === 'alive') {
    become(m, member, { state: 'suspect', incarnation, by: m.self }, out)
    // Tell the suspect first: the next ping carries the accusation, so the answer can refute it.
    m.urgent.add(member.peer)
  } else if (member.suspicion !== undefined && confirm(member.suspicion, m.self)) {
    spread(m.rumours, member.peer, 'new')
  }
}

/** Somebody of whom the next message says a word anyway: what was missed long ago is mended in the end. */
function someone(m: Membership, dice: Dice): PeerId | undefined {
  const peers = m.turns.everybody
  return peers[Math.floor(dice() * peers.length)]
}

function shuffle<T>(items: T[], dice: Dice): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(dice() * (i + 1))
    const moved = items[i] as T
    items[i] = items[j] as T
    items[j] = moved
  }
  return items
}
