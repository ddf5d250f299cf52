/** The two groups that a peer is in, and the first records of those that it founds, which `init` and `join` write. */
import type { Dice } from '../protocols/clock.ts'
import type { PeerId } from '../protocols/ids.ts'
import { genesis } from '../protocols/raft/genesis.ts'
import { memberOf, type MemberId, newIncarnation } from '../protocols/raft/member.ts'
import { beginOps } from '../storage/raft-log.ts'
import type { Identity } from '../storage/records.ts'
import type { Op } from '../storage/store.ts'

export const MESH_GROUP = 'mesh'
export const siteGroupOf = ({ siteName }: Pick<Identity, 'siteName'>): string => `site/${siteName}`

/** Whoever makes a mesh founds its group; the first peer of a site founds that one's. */
export const groupsFounded = (identity: Identity, foundsSite: boolean): string[] => [
  ...(identity.founds ? [MESH_GROUP] : []),
  ...(foundsSite ? [siteGroupOf(identity)] : []),
]

/** First members of a group that `peers` found together. */
export const firstMembers = (peers: readonly PeerId[], dice: Dice): MemberId[] =>
  peers.map((peer) => memberOf(peer, newIncarnation(dice)))

/** What `member`, one of those who found a group, begins with: all of `voters` vote first. */
export const foundingOps = (group: string, member: MemberId, voters: readonly MemberId[]): Op[] =>
  beginOps(group, { member, generation: 0 }, genesis(voters))

/** What a peer that founds its groups alone begins with. */
export const foundAlone = (groups: readonly string[], peer: PeerId, dice: Dice): Op[] =>
  groups.flatMap((group) => {
    const member = memberOf(peer, newIncarnation(dice))
    return foundingOps(group, member, [member])
  })
