/**
 * Who keeps a copy of a site's log outside the site: peers of two other sites, so that a site that is lost for good leaves
 * its records behind (DESIGN section 3). Pure.
 *
 * They learn by following (protocols/follow/) and are no members: never a voter, not waited for by any commit, and not held
 * for where a group of one voter waits for its learner. A learner proper would be sent two to twenty heartbeats a second
 * over the WAN, and keep a group of one voter from its sleep; a follower costs one held ask in 5 s. Who they are is agreed
 * in the site's own log, so the next leader and they themselves know it.
 *
 *   (nobody) ──best scored, in sight for STABLE_MS, of a site and an uplink that no other copy is behind──▶ keeps a copy
 *   keeps a copy ──out of sight for COPY_LOST_MS and another could, draining, removed──▶ replaced
 *
 * A better one is no reason to move a copy: each costs the whole log over the WAN.
 */
import type { PeerId } from '../ids.ts'
import { type Candidate, scoreOf } from './candidate.ts'
import { STABLE_MS } from './plan.ts'

export const COPIES = 2
/** Longer than most lines are cut for: who comes back has little to catch up on. */
export const COPY_LOST_MS = 600_000

export type Offer = Pick<
  Candidate,
  'peer' | 'site' | 'uplink' | 'uptimeMs' | 'power' | 'rttMs' | 'draining'
> & {
  /** In sight and answering. */
  readonly reachable: boolean
  /** For how long it has been so, or not. */
  readonly forMs: number
  /** It would take one more. */
  readonly hasRoom: boolean
}

export type Look = {
  /** Who keeps one, as agreed. */
  readonly current: readonly PeerId[]
  /** Peers of other sites: those of `current` that are admitted, and some that were asked; one for each peer. */
  readonly offers: readonly Offer[]
  /** The leader, and the uplink that the site is behind. */
  readonly self: PeerId
  readonly uplink: string
}

/** Who should keep a copy now, in order of their ids. */
export function keepersOf(look: Look): PeerId[] {
  const { current, offers, self, uplink } = look
  const score = (offer: Offer): number => scoreOf(offer, [{ peer: self, rttMs: {} }], 0)
  const best = offers
    .filter((each) => each.reachable && each.forMs >= STABLE_MS && each.hasRoom && !each.draining)
    .toSorted((a, b) => score(b) - score(a) || (a.peer < b.peer ? -1 : 1))
  const held = current.flatMap((peer) => offers.find((each) => each.peer === peer) ?? [])
  const sound = held.filter(({ draining }) => !draining)
  const isLost = ({ reachable, forMs }: Offer): boolean => !reachable && forMs >= COPY_LOST_MS
  const chosen: Offer[] = []
  const take = (from: readonly Offer[], fits: (offer: Offer) => boolean): void => {
    for (const offer of from) if (chosen.length < COPIES && fits(offer)) chosen.push(offer)
  }
  const apart = (by: 'site' | 'uplink') => (offer: Offer) => chosen.every((other) => other[by] !== offer[by])
  const spread = (offer: Offer): boolean => apart('site')(offer) && apart('uplink')(offer)
  take(
    sound.filter((each) => !isLost(each)),
    apart('site'),
  )
  take(best, (offer) => spread(offer) && offer.uplink !== uplink)
  take(best, spread)
  // A copy behind a line that takes another with it is still a copy; and one that is out of sight is better than none.
  take(best, apart('site'))
  take(sound, apart('site'))
  return chosen.map(({ peer }) => peer).toSorted()
}
