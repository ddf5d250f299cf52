/**
 * A group as the roles core sees one: peers with sites, uplinks and moods, a configuration, and a leader that looks once
 * a second. Changes come about at once if they are lawful, or are lost; learners catch up after a while.
 */
import assert from 'node:assert/strict'
import type { Candidate } from '../../../protocols/roles/candidate.ts'
import { newRoles, type Roles } from '../../../protocols/roles/plan.ts'
import { type Effect, step } from '../../../protocols/roles/roles.ts'
import type { Kind } from '../../../protocols/roles/targets.ts'

export type Host = Omit<Candidate, 'member' | 'standingMs' | 'caughtUp'> & {
  /** Never catches up when it is a learner. */
  readonly slow: boolean
  readonly removed: boolean
}

export const host = (peer: string, site: string, with_: Partial<Host> = {}): Host => ({
  peer,
  site,
  uplink: site,
  uptimeMs: 3_600_000,
  reachable: true,
  power: 'mains',
  rttMs: {},
  noVote: false,
  draining: false,
  leaving: false,
  slow: false,
  removed: false,
  ...with_,
})

/** Looks that a learner takes to catch up. */
const CATCH_UP_LOOKS = 3
const LOOK_MS = 1_000

export class ModelGroup {
  readonly kind: Kind
  readonly keepsAll: boolean
  hosts: Map<string, Host>
  voters: string[]
  learners: string[] = []
  leader: string
  nowMs = 0
  readonly said: string[] = []
  /** Called for every change before it comes about, with who votes before and after. */
  onChange: (before: readonly string[], after: readonly string[], why: string) => void = () => {}
  /** Whether a change or transfer comes about. */
  lets: () => boolean = () => true
  readonly #since = new Map<string, { reachable: boolean; sinceMs: number }>()
  readonly #looksAsLearner = new Map<string, number>()
  #roles: Roles

  constructor(kind: Kind, hosts: readonly Host[], voters: readonly string[], keepsAll = false) {
    this.kind = kind
    this.keepsAll = keepsAll
    this.hosts = new Map(hosts.map((each) => [each.peer, each]))
    this.voters = [...voters]
    this.leader = voters.find((peer) => this.hosts.get(peer)?.reachable === true) ?? ''
    this.#roles = newRoles(kind, keepsAll, 0)
    this.#mind()
  }

  set(peer: string, with_: Partial<Host>): void {
    this.hosts.set(peer, { ...(this.hosts.get(peer) as Host), ...with_ })
    this.#mind()
  }

  get quorate(): boolean {
    const live = this.voters.filter((peer) => this.hosts.get(peer)?.reachable === true)
    return live.length * 2 > this.voters.length
  }

  /** Looks for this long; returns how many effects there were. */
  run(ms: number): number {
    let effects = 0
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; this.nowMs += LOOK_MS) {
      if (!this.quorate) continue
      this.#elect()
      effects += this.#look()
    }
    return effects
  }

  candidates(): Candidate[] {
    return [...this.hosts.values()]
      .filter(({ removed }) => !removed)
      .map((each) => ({
        ...each,
        member: each.peer,
        standingMs: this.nowMs - (this.#since.get(each.peer)?.sinceMs ?? 0),
        caughtUp:
          each.reachable &&
          (this.voters.includes(each.peer) || (this.#looksAsLearner.get(each.peer) ?? 0) >= CATCH_UP_LOOKS),
      }))
  }

  #look(): number {
    for (const peer of this.learners) {
      const { slow, reachable } = this.hosts.get(peer) as Host
      if (!slow && reachable) this.#looksAsLearner.set(peer, (this.#looksAsLearner.get(peer) ?? 0) + 1)
    }
    const members = { voters: this.voters, votersOutgoing: [], learners: this.learners }
    const look = {
      kind: 'look' as const,
      nowMs: this.nowMs,
      self: this.leader,
      members,
      candidates: this.candidates(),
    }
    const effects = step(this.#roles, look)
    assert(effects.length <= 1, 'more than one effect')
    // While one is in flight there is no other.
    if (effects.length === 1) assert.deepEqual(step(this.#roles, look), [])
    for (const effect of effects) this.#perform(effect)
    return effects.length
  }

  #perform(effect: Effect): void {
    this.said.push(`${this.nowMs} ${effect.kind} ${effect.why}`)
    if (this.lets()) {
      if (effect.kind === 'transfer') this.#lead(effect.to)
      else this.#change(effect.change.changes, effect.why)
    }
    step(this.#roles, { kind: 'ended' })
  }

  #change(changes: readonly { readonly kind: string; readonly peer: string }[], why: string): void {
    assert(changes.length > 0 && changes.length <= 14, `${changes.length} changes`)
    const before = this.voters
    const beforeAll = JSON.stringify([this.voters, this.learners])
    const after = new Set(this.voters)
    const learners = new Set(this.learners)
    for (const { kind, peer } of changes) {
      after.delete(peer)
      const wasLearner = learners.delete(peer)
      if (kind === 'add-node') {
        assert(wasLearner, `${peer} votes without having been a learner`)
        after.add(peer)
      } else if (kind === 'add-learner-node') learners.add(peer)
    }
    this.onChange(before, [...after], why)
    this.voters = [...after].sort()
    this.learners = [...learners].sort()
    assert.notEqual(JSON.stringify([this.voters, this.learners]), beforeAll, `nothing changes: ${why}`)
    for (const peer of this.#looksAsLearner.keys())
      if (!learners.has(peer) && !after.has(peer)) this.#looksAsLearner.delete(peer)
  }

  #elect(): void {
    const fit = (peer: string): boolean =>
      this.voters.includes(peer) && this.hosts.get(peer)?.reachable === true
    if (!fit(this.leader)) this.#lead(this.voters.find(fit) ?? '')
  }

  #lead(peer: string): void {
    assert(this.voters.includes(peer), `${peer} leads and does not vote`)
    this.leader = peer
    this.#roles = newRoles(this.kind, this.keepsAll, this.nowMs)
  }

  #mind(): void {
    for (const { peer, reachable } of this.hosts.values()) {
      if (this.#since.get(peer)?.reachable !== reachable)
        this.#since.set(peer, { reachable, sinceMs: this.nowMs })
    }
  }
}
