/**
 * Who is in a group, and how that changes: by entries of the log, each in force from the moment it is applied. Adding a
 * learner is the only change yet; joint changes enter here as further kinds, with `votersOutgoing` as their other half.
 */
import { codec } from '../codec.ts'
import { peerId, type PeerId } from '../ids.ts'
import { LEARNERS_MAX, VOTERS_MAX } from '../limits.ts'
import { list, record, type Shape, tagged } from '../shape.ts'
import type { Configuration, ConfigurationChange } from './types.ts'

export const configuration: Shape<Configuration> = record({
  voters: list(peerId, VOTERS_MAX),
  votersOutgoing: list(peerId, VOTERS_MAX),
  learners: list(peerId, LEARNERS_MAX),
})

const changeShape: Shape<ConfigurationChange> = tagged({ 'add-learner': record({ peer: peerId }) })
/** The data of a `configuration` entry. */
export const change = codec('raft configuration change', changeShape)

/** Total and idempotent, because entries are applied again after a restart: adding a member changes nothing. */
export function changed(before: Configuration, { peer }: ConfigurationChange): Configuration {
  if (isMember(before, peer)) return before
  return { ...before, learners: [...before.learners, peer].sort() }
}

/** Both halves of a joint configuration vote. */
export const isVoter = ({ voters, votersOutgoing }: Configuration, peer: PeerId): boolean =>
  voters.includes(peer) || votersOutgoing.includes(peer)

const isMember = (configuration: Configuration, peer: PeerId): boolean =>
  isVoter(configuration, peer) || configuration.learners.includes(peer)

/** Everybody who may vote, once each, in order of their ids. */
export function votersOf({ voters, votersOutgoing }: Configuration): PeerId[] {
  return [...new Set([...voters, ...votersOutgoing])].sort()
}

/** Everybody who gets the log, once each, in order of their ids. */
export function membersOf(configuration: Configuration): PeerId[] {
  return [...new Set([...votersOf(configuration), ...configuration.learners])].sort()
}

/** A group that `peer` may decide for alone. */
export const isSoleVoter = ({ voters, votersOutgoing }: Configuration, peer: PeerId): boolean =>
  voters.length === 1 && voters[0] === peer && votersOutgoing.length === 0
