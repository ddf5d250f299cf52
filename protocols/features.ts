/**
 * Features of what groups agree on, in the order in which they came: a rolling upgrade changes one host at a time, so for a
 * while members of two versions apply the same log, and must come to the same state, to the byte.
 *
 * **Levels.** Row n is level n, and a version knows all levels up to its own (`FEATURE_LEVEL`): versions stand in a line, so n
 * rows make n + 1 worlds to be tested and not 2^n (Kafka's and CockroachDB's cluster versions, etcd's). A group has a level too,
 * 0 at first. It is agreed on, kept in the envelope and its snapshots, and only ever rises:
 *
 *   all members say that they know level n ──leader──▶ entry `feature { level: n }` ──applied──▶ the group is at level n
 *
 * **Reading.** Every version reads the entries of a group as the version did whose newest level is the group's: a kind that came
 * later is refused with one fixed answer, a field that came later is not there (shape.ts, `since`). An older version has no
 * other way, because its codec drops what it does not know; a newer one does the same on purpose. So before the entry nothing
 * of the feature can take effect anywhere, and after it everywhere.
 *
 * **Who knows.** Members say their level in MsgHeartbeatResp: it reaches the leader from each member by its id, voter or
 * learner, within a heartbeat of its start, and is forgotten with the lead. (An answer of `/godwit/roles/1` is up to 20 s
 * old, and of the peer.) Absent means 0: what a version before the field says. The leader raises the level to the highest
 * that all members of the configuration in force, both halves of a joint one and learners included, have said *and* are in
 * sight with: a member that is away may come back as an older version.
 *
 * **Who does not know.** A member that meets a level above its own, in an entry or in a snapshot, applies nothing more of that
 * group: it is *halted*. It never skips an entry: the next one may mean what it cannot read. It goes on storing entries
 * and voting, because a majority counts logs and not states. It never stands for election, gives up a lead, and answers no
 * reads: for these one has to have applied the log. A newer version that starts on its data folder goes on at that very entry.
 * That happens to whoever was rolled back, brought in, or back, too late; and to those who follow without being members
 * (`/godwit/follow/1`, copies of other sites' logs too): a gate does not wait for them, since any number of them may be
 * away for months. They keep the state that they have, as if they were cut off, say so, and are no source for others.
 *
 * **Rolling back** is therefore possible until the level is raised; an older version then reads all that was written. After
 * that it is halted where the `feature` entry is, or from the start if a snapshot holds it; nothing is put aside, because
 * a log that is too new is not damaged.
 *
 * **What has to be a row**: whatever changes what an entry does to the state or to the answers kept in it: a kind of command,
 * a field, another meaning of one, another bound that a state machine counts by (limits.ts), another text in a failure that it
 * answers with. And a kind of message that a peer would take for a bad frame. A field in a message that only informs needs none.
 */
import assert from 'node:assert/strict'
import type { Codec } from './codec.ts'
import { GodwitError } from './errors.ts'

export type Feature = {
  readonly level: number
  readonly name: string
  /** What is not there below the level. */
  readonly gates: string
  /** How the group does without it. */
  readonly until: string
}

export const STAGGERED_ELECTIONS = 1
export const SITE_COPIES = 2
export const SITE_GENERATIONS = 3
export const FORCED_CANCELS = 4
export const STOPS_WHILE_CANCELLING = 5
export const ENDED_TOKENS = 6
export const REMOVERS = 7

/** docs/PROTOCOLS.md is printed from this table. */
export const FEATURES: readonly Feature[] = [
  {
    level: STAGGERED_ELECTIONS,
    name: 'staggered elections',
    gates: 'field `staggerTicks` of the envelope command `timing`',
    until: 'each follower waits for a random time before it stands for election',
  },
  {
    level: SITE_COPIES,
    name: 'copies of a site',
    gates: 'command `copies` of a site group',
    until: 'no peer of another site keeps a copy of the log',
  },
  {
    level: SITE_GENERATIONS,
    name: 'registered generations',
    gates: 'command `site-generation` of the mesh group',
    until: 'of two recoveries of one log the higher number wins',
  },
  {
    level: FORCED_CANCELS,
    name: 'forced cancels',
    gates: 'field `force` of `move-cancel` and `vm-move-cancel`, command `vm-raise` of a site group',
    until: 'a move whose destination is gone for good after a recovery is not cancelled',
  },
  {
    level: STOPS_WHILE_CANCELLING,
    name: 'stops while a move is being cancelled',
    gates: 'field `cancelling` of `vm-want`',
    until: 'a VM starts and stops again once the cancel of its move is agreed on',
  },
  {
    level: ENDED_TOKENS,
    name: 'ended tokens give way',
    gates: 'field `makesRoom` of `token-create`, and what it is answered where there is no room',
    until: 'tokens that have ended count among TOKENS_MAX until a day after they would have expired',
  },
  {
    level: REMOVERS,
    name: 'removals say by whom',
    gates: 'field `by` of `peer-remove`, and of removed peers in the state of the mesh group',
    until: 'a removed peer is told when it was removed, and not by whom',
  },
]

/** What this version knows. */
export const FEATURE_LEVEL = FEATURES.length
assert(FEATURES.every(({ level }, at) => level === at + 1))

export const featureName = (level: number): string =>
  FEATURES[level - 1]?.name ?? `the features of level ${level}`

/** The lowest level at which nothing of an encoded message is left out or refused; 0 for what cannot be read at any. */
export function levelOf<T>(kind: Codec<T>, data: Uint8Array): number {
  const message = readable(kind, data)
  if (message === undefined) return 0
  const whole = Buffer.from(kind.encode(message))
  for (let level = 0; level < FEATURE_LEVEL; level++) {
    const read = readable(kind, data, level)
    if (read !== undefined && whole.equals(kind.encode(read))) return level
  }
  return FEATURE_LEVEL
}

/** Undefined for what nobody at that level can read, whatever its decoder has against it. */
export function readable<T>(kind: Codec<T>, data: Uint8Array, level?: number): T | undefined {
  try {
    return kind.decode(data, level)
  } catch (error) {
    if (!(error instanceof GodwitError)) throw error
    return undefined
  }
}
