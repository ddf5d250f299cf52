/**
 * A leader whose disk hangs, or is full, applies nothing, though the others may agree: one of them is to lead. Its shell looks
 * at the writes under way every STUCK_LOOK_MS; when the same one is the oldest for STUCK_WRITE_MS, it hands over, and again
 * at every look after that until another leads.
 */
import { STUCK_WRITE_MS } from '../limits.ts'
import { isVoter } from './configuration.ts'
import type { MemberId } from './member.ts'
import type { Status } from './raft.ts'

/** A stuck write is found out a fifth of STUCK_WRITE_MS late at most. */
const LOOKS = 5
export const STUCK_LOOK_MS = STUCK_WRITE_MS / LOOKS

/** The oldest write under way at the last look, and at how many looks it was that. */
export type Watch = { oldest: number | undefined; looks: number }

export const newWatch = (): Watch => ({ oldest: undefined, looks: 0 })

/** A look. @param oldest The token of the oldest write under way; undefined when there is none. */
export function isStuck(watch: Watch, oldest: number | undefined): boolean {
  watch.looks = oldest === watch.oldest ? watch.looks + 1 : 1
  watch.oldest = oldest
  return oldest !== undefined && watch.looks > LOOKS
}

/** The voter that is heard and holds most. */
export function successorOf({ configuration, progress, leader }: Status): MemberId | undefined {
  const heard = progress.filter(
    ({ peer, recentActive }) => peer !== leader && recentActive && isVoter(configuration, peer),
  )
  return heard.toSorted((a, b) => b.match - a.match)[0]?.peer
}
