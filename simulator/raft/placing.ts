/**
 * The product's own rules of who votes and who leads (protocols/roles/) over a simulated group. Members measure round trips
 * on the simulated network and whoever leads looks at them; a change or a transfer that comes of it is performed. Asking
 * candidates (node/electing.ts) is left out: the leader reads what the others have measured.
 */
import { isVoter, membersOf } from '../../protocols/raft/configuration.ts'
import { type MemberId, peerOf } from '../../protocols/raft/member.ts'
import { status } from '../../protocols/raft/raft.ts'
import type { Candidate } from '../../protocols/roles/candidate.ts'
import { newRoles, type Roles } from '../../protocols/roles/plan.ts'
import { type Effect, step } from '../../protocols/roles/roles.ts'
import type { Group } from './group.ts'
import type { Member } from './member.ts'
import type { Simulation } from './simulation.ts'

const LOOK_US = 1_000_000
/** Of a new round trip in the smoothed one. */
const GAIN = 0.2
/** As in the product: entries that a member may lack and still count as caught up. */
const BEHIND_MAX = 256
/** Without an answer for this long a peer is out of sight. */
const SIGHT_US = 5_000_000

export class Placing {
  readonly #simulation: Simulation
  readonly #group: Group
  /** Smoothed, in ms, by who measured. */
  readonly #rttMs = new Map<MemberId, Record<string, number>>()
  /** When each was last heard of by each other. */
  readonly #heardUs = new Map<string, number>()
  /** Of those who lead. */
  readonly #roles = new Map<MemberId, Roles>()
  /** What was done, in order. */
  readonly done: { readonly atUs: number; readonly effect: Effect }[] = []

  constructor(simulation: Simulation, group: Group) {
    this.#simulation = simulation
    this.#group = group
    this.#look()
  }

  #look(): void {
    for (const member of this.#group.alive()) {
      member.host.whenAwake(() => {
        this.#measure(member)
        if (member.raft.role === 'leader') this.#lead(member)
        else this.#roles.delete(member.id)
      })
    }
    this.#simulation.timeline.after(LOOK_US, () => this.#look())
  }

  #measure(member: Member): void {
    const { network, timeline } = this.#simulation
    const startUs = timeline.nowUs
    for (const { id, host } of this.#group.alive()) {
      if (id === member.id) continue
      const [here, there] = [member.host.number, host.number]
      network.send(here, there, () =>
        host.whenAwake(() => network.send(there, here, () => this.#hear(member.id, id, startUs))),
      )
    }
  }

  #hear(member: MemberId, other: MemberId, startUs: number): void {
    const { nowUs } = this.#simulation.timeline
    const ms = (nowUs - startUs) / 1_000
    const known = this.#rttMs.get(member) ?? {}
    const peer = peerOf(other)
    this.#rttMs.set(member, { ...known, [peer]: (known[peer] ?? ms) * (1 - GAIN) + ms * GAIN })
    this.#heardUs.set(`${member} ${other}`, nowUs)
  }

  #lead(member: Member): void {
    const nowMs = this.#simulation.timeline.nowUs / 1_000
    const roles = this.#roles.get(member.id) ?? newRoles('mesh', false, nowMs)
    this.#roles.set(member.id, roles)
    const members = member.raft.configuration
    const candidates = membersOf(members).map((id) => this.#candidate(member, id))
    for (const effect of step(roles, { kind: 'look', nowMs, self: member.id, members, candidates }))
      this.#perform(member, roles, effect)
  }

  #candidate(leader: Member, member: MemberId): Candidate {
    const { progress, lastIndex } = status(leader.raft)
    const known = progress.find(({ peer }) => peer === member)
    const own = member === leader.id
    const { nowUs } = this.#simulation.timeline
    const heardUs = this.#heardUs.get(`${leader.id} ${member}`) ?? -Infinity
    const nowMs = nowUs / 1_000
    const site = `site${peerOf(member)}`
    return {
      member,
      peer: peerOf(member),
      site,
      uplink: site,
      uptimeMs: nowMs,
      reachable: own || nowUs - heardUs < SIGHT_US,
      standingMs: nowMs,
      power: 'mains',
      rttMs: this.#rttMs.get(member) ?? {},
      noVote: false,
      draining: false,
      leaving: false,
      caughtUp: own || (known?.state === 'replicate' && known.match + BEHIND_MAX >= lastIndex),
    }
  }

  #perform(member: Member, roles: Roles, effect: Effect): void {
    this.done.push({ atUs: this.#simulation.timeline.nowUs, effect })
    this.#simulation.say(() => `${member.id}: ${effect.kind}, ${effect.why}`)
    if (effect.kind === 'change') return member.change(effect.change, () => step(roles, { kind: 'ended' }))
    // Nobody says how it ended: the rules look again after a while.
    if (isVoter(member.raft.configuration, effect.to)) member.feed({ kind: 'transfer', to: effect.to })
  }
}
