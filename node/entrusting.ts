/**
 * The leader of a site's group sees to it that peers of two other sites keep a copy of its log. protocols/roles/copies.ts says
 * who; here they are asked, agreed on, and reminded.
 *
 *   every LOOK_MS   who keeps a copy is told so again (it may have lost its disk); while one is missing, a few peers of
 *                   other sites are asked whether they would, each time the same ones first: by rendezvous of site and group,
 *                   so that the copies of many sites are spread over all of them
 *   then            another choice than the agreed one enters the log, one command at a time
 */
import type { Clock } from '../protocols/clock.ts'
import type { PeerId } from '../protocols/ids.ts'
import { COPIES_ASKED_MAX, REQUEST_MS } from '../protocols/limits.ts'
import { hashOf } from '../protocols/membership/member.ts'
import type { Done } from '../protocols/outcome.ts'
import { COPIES, keepersOf, type Offer } from '../protocols/roles/copies.ts'
import { copyAnswer, copyAsk, PROTOCOL as COPY } from '../protocols/roles/copy-messages.ts'
import type { Transport } from '../protocols/transport.ts'
import type { SiteCommand, SiteState } from './catalog/site.ts'
import type { Admitted, Knowledge } from './electing.ts'
import type { Group } from './group.ts'
import { Timers } from './timers.ts'

type Around = Pick<Knowledge, 'sight'> & {
  /** Peers of other sites. */
  others(): readonly Admitted[]
  /** The uplink of this peer; empty: its site's. */
  readonly uplink: string
  propose(command: SiteCommand, done: Done<unknown>): void
}

type Answer = ReturnType<typeof copyAnswer.decode> & { readonly atMs: number }

const LOOK_MS = 5_000
/** How often one is asked, and how long its answer is good for. */
const ASK_MS = 30_000
const GOOD_MS = 3 * ASK_MS

export class Entrusting {
  readonly #group: Pick<Group<SiteState, SiteCommand>, 'name' | 'role' | 'state'>
  readonly #around: Around
  readonly #clock: Clock
  readonly #transport: Transport
  readonly #timers: Timers
  readonly #answers = new Map<PeerId, Answer>()
  readonly #askedMs = new Map<PeerId, number>()
  #proposing = false
  #stopped = false

  constructor(
    group: Pick<Group<SiteState, SiteCommand>, 'name' | 'role' | 'state'>,
    around: Around,
    { clock, transport }: { readonly clock: Clock; readonly transport: Transport },
  ) {
    this.#group = group
    this.#around = around
    this.#clock = clock
    this.#transport = transport
    this.#timers = new Timers(clock)
  }

  start(): void {
    const look = (): void => {
      if (this.#stopped) return
      this.#look()
      this.#timers.after(LOOK_MS, look)
    }
    look()
  }

  stop(): void {
    this.#stopped = true
    this.#timers.stop()
  }

  #look(): void {
    if (this.#group.role !== 'leader') {
      this.#answers.clear()
      this.#askedMs.clear()
      return
    }
    const nowMs = this.#clock.nowMs()
    const { copies = [] } = this.#group.state
    const others = this.#around.others()
    const admitted = new Map(others.map((each) => [each.peer, each]))
    const current = copies.filter((peer) => admitted.has(peer))
    const sound = current.filter((peer) => this.#around.sight(peer).reachable)
    const asked = sound.length < COPIES ? this.#nearest(others) : []
    for (const peer of this.#answers.keys())
      if (!current.includes(peer) && !asked.includes(peer)) this.#answers.delete(peer)
    for (const peer of new Set([...sound, ...asked])) this.#ask(peer, current.includes(peer), nowMs)
    const offers = [...new Set([...current, ...asked])].flatMap((peer) => {
      const known = admitted.get(peer)
      return known === undefined ? [] : [this.#offer(known, nowMs)]
    })
    const uplink = uplinkOf(this.#around.uplink, 'own')
    const keepers = keepersOf({ current, offers, self: this.#transport.self, uplink })
    if (this.#proposing || keepers.join() === copies.toSorted().join()) return
    this.#proposing = true
    this.#around.propose({ kind: 'copies', peers: keepers }, () => {
      this.#proposing = false
    })
  }

  #offer({ peer, site, draining }: Admitted, nowMs: number): Offer {
    const answer = this.#answers.get(peer)
    const isGood = answer !== undefined && nowMs - answer.atMs < GOOD_MS
    const { reachable, forMs } = this.#around.sight(peer)
    const rttMs = this.#transport.rttMs(peer)
    return {
      peer,
      site,
      uplink: uplinkOf(answer?.uplink ?? '', site),
      uptimeMs: answer?.uptimeMs ?? 0,
      power: answer?.power ?? 'mains',
      rttMs: rttMs === undefined ? {} : { [this.#transport.self]: rttMs },
      draining,
      reachable,
      forMs,
      hasRoom: isGood && (answer.hasRoom || answer.keeps),
    }
  }

  /** One peer in sight of each of as many other sites. */
  #nearest(others: readonly Admitted[]): PeerId[] {
    const bySite = new Map<string, PeerId>()
    const rank = (name: string): number => hashOf(`${this.#group.name} ${name}`)
    for (const { peer, site, draining } of others) {
      if (draining || !this.#around.sight(peer).reachable) continue
      const known = bySite.get(site)
      if (known === undefined || rank(peer) < rank(known)) bySite.set(site, peer)
    }
    return [...bySite]
      .toSorted(([a], [b]) => rank(a) - rank(b))
      .slice(0, COPIES_ASKED_MAX)
      .map(([, peer]) => peer)
  }

  #ask(peer: PeerId, keeps: boolean, nowMs: number): void {
    const isTold = !keeps || this.#answers.get(peer)?.keeps === true
    const everyMs = isTold ? ASK_MS : LOOK_MS
    if (nowMs - (this.#askedMs.get(peer) ?? -Infinity) < everyMs) return
    this.#askedMs.set(peer, nowMs)
    const ask = copyAsk.encode({ kind: keeps ? 'keep' : 'offer', group: this.#group.name })
    this.#transport.request(peer, COPY, ask, REQUEST_MS, (outcome) => {
      if (!outcome.ok || this.#stopped) return
      this.#answers.set(peer, { ...copyAnswer.decode(outcome.value), atMs: this.#clock.nowMs() })
    })
  }
}

/** A site that names none has a line of its own. */
const uplinkOf = (named: string, site: string): string => (named === '' ? `site ${site}` : named)
