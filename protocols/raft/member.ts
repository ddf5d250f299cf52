/**
 * Who keeps a log: a peer, and which of its logs of that group. A peer that lost its log comes back as another member,
 * so nobody counts on what the lost one had promised. The core takes ids as they are; the peer in one is the transport's.
 */
import type { Dice } from '../clock.ts'
import type { PeerId } from '../ids.ts'
import { MEMBER_ID_LENGTH_MAX } from '../limits.ts'
import { matching } from '../shape.ts'

/** `<peer id>#<incarnation>`; to the core, a text that is its own and no other's. */
export type MemberId = string

export const memberId = matching(new RegExp(`^[!-~]{1,${MEMBER_ID_LENGTH_MAX}}$`), 'a member id')

/** 48 bits in base 36: two logs of one peer with the same one are not to be expected. Two draws, as dice may have 32 bits. */
export const newIncarnation = (dice: Dice): string =>
  (Math.floor(dice() * 2 ** 24) * 2 ** 24 + Math.floor(dice() * 2 ** 24)).toString(36)

export const memberOf = (peer: PeerId, incarnation: string): MemberId => `${peer}#${incarnation}`

/** Empty for nobody. */
export const peerOf = (member: MemberId): PeerId => {
  const end = member.indexOf('#')
  return end === -1 ? member : member.slice(0, end)
}
