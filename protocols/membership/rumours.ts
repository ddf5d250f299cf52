/**
 * News on its way: of each member the newest word is said a number of times that grows with the logarithm of the mesh,
 * then no more. One rumour per member, so it is bounded by the number of members.
 */
import type { PeerId } from '../ids.ts'
import { NEWS_MAX } from '../limits.ts'
import type { Update } from './messages.ts'

export type Rumours = Map<PeerId, Rumour>
type Rumour = { said: number; until: 'enough' | 'twice' }

/** memberlist's multiplier: with it all of 10,000 members hear a rumour although one message in twenty is lost. */
const TIMES = 4
const AGAIN_TIMES = 2

/** `new`: everybody must hear it. `again`: somebody was found to have missed it; a reminder, unless it is under way. */
export function spread(rumours: Rumours, peer: PeerId, how: 'new' | 'again'): void {
  if (how === 'new') rumours.set(peer, { said: 0, until: 'enough' })
  else if (!rumours.has(peer)) rumours.set(peer, { said: 0, until: 'twice' })
}

/** Whether there is something that everybody must hear; reminders wait for a message that goes anyway. */
export function pressing(rumours: Rumours): boolean {
  for (const { until } of rumours.values()) if (until === 'enough') return true
  return false
}

/**
 * What goes along with a message to `to`: the words on `first`, whether they are rumours or not, then the rumours that
 * were said least. `said` gives the present word on a peer.
 */
export function take(
  rumours: Rumours,
  to: PeerId,
  first: readonly PeerId[],
  peers: number,
  word: (peer: PeerId) => Update | undefined,
): Update[] {
  const news: Update[] = []
  const add = (peer: PeerId): void => {
    const update = news.length < NEWS_MAX && !news.some((each) => each.peer === peer) ? word(peer) : undefined
    if (update !== undefined) news.push(update)
  }
  for (const peer of first) add(peer)
  if (rumours.size === 0) return news

  const enough = TIMES * Math.ceil(Math.log10(peers + 1))
  const pending = [...rumours]
  if (pending.length > NEWS_MAX) pending.sort(([, a], [, b]) => a.said - b.said)
  for (const [peer, rumour] of pending.slice(0, NEWS_MAX)) {
    // Nobody needs to be told that it is well.
    if (peer === to || news.length >= NEWS_MAX) continue
    add(peer)
    rumour.said++
    if (rumour.said >= (rumour.until === 'twice' ? AGAIN_TIMES : enough)) rumours.delete(peer)
  }
  return news
}
