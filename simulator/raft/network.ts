/**
 * The network of tier A, in two models. *Datagrams* are the nemesis's: each message may be lost, repeated at once or much
 * later, and overtaken. *Streams* are for WAN figures, because Raft rides on TCP: messages of a connection arrive in
 * order, a loss shows as the delay of a retransmission that holds up what is behind it, and a cut that lasts ends the
 * connection, which both ends are told.
 *
 * Links are between hosts, each direction by itself: blocked (a partition) or clogged (nothing arrives until later).
 */
import type { Random } from '../random.ts'
import type { Timeline } from './timeline.ts'

export type Delay = {
  /** One way, in µs: at least `minUs`, and `meanUs` more on average. */
  readonly minUs: number
  readonly meanUs: number
  /** And up to this more, all equally likely. */
  readonly spreadUs?: number
}

export type NetworkRates = {
  readonly model: 'datagrams' | 'streams'
  readonly delay: Delay
  readonly loss: number
  /** A copy arrives with a delay of its own. */
  readonly duplicate: number
  /** A copy arrives up to `replayUs` later: what was true then is not true any more. */
  readonly replay: number
  readonly replayUs: number
  /** Datagrams: whether a message may overtake another at all. */
  readonly ordered: boolean
}

type Link = {
  blocked: boolean
  cloggedUntilUs: number
  /** When the newest message of the stream arrives. */
  lastUs: number
  flying: number
  /** Streams: when it was blocked, and what has waited since. */
  blockedAtUs: number
  held: (() => void)[]
  /** Another one is in its place. */
  ended: boolean
  delay: Delay | undefined
  loss: number | undefined
}

const newLink = (): Link => ({
  blocked: false,
  cloggedUntilUs: 0,
  lastUs: 0,
  flying: 0,
  blockedAtUs: 0,
  held: [],
  ended: false,
  delay: undefined,
  loss: undefined,
})

/** Messages on their way over one link; more are lost, as in a full queue. */
const FLYING_MAX = 512
/** TCP's first retransmission: a round trip and this (Linux). */
const RETRANSMIT_MIN_US = 200_000
/** Retransmissions that double the wait; then the connection is given up. */
const RETRANSMITS_MAX = 5

export class RaftNetwork {
  readonly rates: NetworkRates
  /** Counted for the report. */
  sent = 0
  lost = 0
  /** Called for both ends of a connection that is given up. Streams only. */
  onReset: (from: number, to: number) => void = () => {}
  readonly #timeline: Timeline
  readonly #dice: Random
  readonly #links: Link[][] = []
  /** False: no loss, no repetition, no blocks (the liveness phase). */
  #hostile = true

  constructor(timeline: Timeline, dice: Random, rates: NetworkRates) {
    this.#timeline = timeline
    this.#dice = dice
    this.rates = rates
  }

  link(from: number, to: number): Link {
    const row = (this.#links[from] ??= [])
    return (row[to] ??= newLink())
  }

  /** Each direction by itself; `isBlocked` is asked for all pairs of `hosts`. */
  partition(hosts: readonly number[], isBlocked: (from: number, to: number) => boolean): void {
    for (const from of hosts) {
      for (const to of hosts) if (from !== to) this.block(from, to, isBlocked(from, to))
    }
  }

  block(from: number, to: number, blocked: boolean): void {
    const link = this.link(from, to)
    if (blocked && !link.blocked) link.blockedAtUs = this.#timeline.nowUs
    if (!blocked && link.blocked && link.held.length > 0) this.#resume(link)
    link.blocked = blocked
  }

  /**
   * Faults end; what is cut off for good is told by `isBlocked`. All connections are new ones: what was still on its way is
   * lost, or the word of a leader that is gone for good would come again for as long as replays may take.
   */
  calm(hosts: readonly number[], isBlocked: (from: number, to: number) => boolean): void {
    this.#hostile = false
    for (const row of this.#links) {
      for (const [to, link] of row?.entries() ?? []) {
        if (link === undefined) continue
        this.lost += link.held.splice(0).length
        link.ended = true
        row[to] = { ...newLink(), delay: link.delay, loss: link.loss }
      }
    }
    this.partition(hosts, isBlocked)
  }

  /** @param arrive Called once for each copy that gets through, when it does. */
  send(from: number, to: number, arrive: () => void): void {
    this.sent++
    const link = this.link(from, to)
    if (this.rates.model === 'streams') return this.#stream(link, from, to, arrive)
    if (link.flying >= FLYING_MAX) return void this.lost++
    const { loss, duplicate, replay, replayUs } = this.rates
    if (this.#hostile && duplicate > 0 && this.#dice.chance(duplicate))
      this.#fly(link, this.#delay(link), arrive)
    // Of what comes again much later nothing is held up: a network that keeps the order keeps that of first copies.
    if (this.#hostile && replay > 0 && this.#dice.chance(replay))
      this.#arrive(link, this.#timeline.nowUs + this.#dice() * replayUs, arrive)
    if (this.#hostile && this.#dice.chance(link.loss ?? loss)) return void this.lost++
    this.#fly(link, this.#delay(link), arrive)
  }

  #delay({ delay = this.rates.delay }: Link): number {
    const { minUs, meanUs, spreadUs = 0 } = delay
    return minUs + meanUs * -Math.log(1 - this.#dice()) + (spreadUs === 0 ? 0 : spreadUs * this.#dice())
  }

  #fly(link: Link, delayUs: number, arrive: () => void): void {
    const { nowUs } = this.#timeline
    let atUs = Math.max(nowUs + delayUs, link.cloggedUntilUs)
    if (this.rates.ordered) atUs = link.lastUs = Math.max(atUs, link.lastUs)
    this.#arrive(link, atUs, arrive)
  }

  #arrive(link: Link, atUs: number, arrive: () => void): void {
    link.flying++
    this.#timeline.after(atUs - this.#timeline.nowUs, () => {
      link.flying--
      if (link.blocked || link.ended) this.lost++
      else arrive()
    })
  }

  /** In order, whole, late. */
  #stream(link: Link, from: number, to: number, arrive: () => void): void {
    const { nowUs } = this.#timeline
    const loss = this.#hostile ? (link.loss ?? this.rates.loss) : 0
    let delayUs = this.#delay(link)
    let waitUs = RETRANSMIT_MIN_US + 2 * delayUs
    for (let again = 0; again < RETRANSMITS_MAX && this.#dice.chance(loss); again++, waitUs *= 2)
      delayUs += waitUs
    link.lastUs = Math.max(nowUs + delayUs, link.lastUs, link.cloggedUntilUs)
    this.#timeline.after(link.lastUs - nowUs, () => {
      if (link.ended) return void this.lost++
      if (!link.blocked && link.held.length === 0) return arrive()
      if (link.held.length === 0) this.#giveUpLater(link, from, to)
      if (link.held.length < FLYING_MAX) link.held.push(arrive)
      else this.lost++
    })
  }

  /** A link that stays blocked for all retransmissions is a connection that ends. */
  #giveUpLater(link: Link, from: number, to: number): void {
    const { blockedAtUs } = link
    this.#timeline.after(RETRANSMIT_MIN_US * (2 ** (RETRANSMITS_MAX + 1) - 1), () => {
      if (!link.blocked || link.blockedAtUs !== blockedAtUs) return
      this.lost += link.held.splice(0).length
      this.onReset(from, to)
    })
  }

  /** What waited behind a cut comes with the next retransmission, in order. */
  #resume(link: Link): void {
    const cutUs = this.#timeline.nowUs - link.blockedAtUs
    let nextUs = RETRANSMIT_MIN_US
    for (let waitUs = RETRANSMIT_MIN_US; nextUs < cutUs; nextUs += waitUs) waitUs *= 2
    this.#timeline.after(nextUs - cutUs, () => {
      if (!link.blocked) for (const arrive of link.held.splice(0)) arrive()
    })
  }
}
