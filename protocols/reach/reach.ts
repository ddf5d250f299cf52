/** What a peer concludes from the answers it got: whether it needs relays, and which. */
import type { PeerId } from '../ids.ts'
import type { ReachAnswer } from './messages.ts'

/** Two, so that one may go without anybody noticing. */
export const RELAYS = 2

/** Some could dial this peer and none failed to: then it can be another's relay. */
export function isReachable(answers: ReadonlyMap<PeerId, ReachAnswer>): boolean {
  const all = [...answers.values()]
  return all.length > 0 && all.every(({ dialled }) => dialled)
}

/**
 * None while everybody who was asked can dial this peer. Otherwise peers that say they are reachable and that this peer
 * dialled itself: those first that could not dial it, since they are outside of whatever it is behind; then those held
 * already, so that addresses stay as they are; then by `rank`, which spreads peers over relays.
 */
export function chooseRelays(
  answers: ReadonlyMap<PeerId, ReachAnswer>,
  dialledByUs: ReadonlySet<PeerId>,
  held: ReadonlySet<PeerId>,
  rank: (peer: PeerId) => string,
): PeerId[] {
  if ([...answers.values()].every(({ dialled }) => dialled)) return []
  return [...answers]
    .filter(([peer, { relays }]) => relays && dialledByUs.has(peer))
    .map(([peer, { dialled }]) => ({
      peer,
      key: `${Number(dialled)} ${Number(!held.has(peer))} ${rank(peer)}`,
    }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .slice(0, RELAYS)
    .map(({ peer }) => peer)
}
