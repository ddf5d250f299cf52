/**
 * The row about what has to come once faults have ended (I20), and how long it may take, from the timing that the group
 * goes by. After the end nothing is lost, no host and no disk is slow, and who stays away is a minority for ever.
 *
 * *A leader within four election timeouts.* A timeout is drawn from [T, 2T), so four are 8T at most. Within the first whoever
 * still counts on a leader that is gone stops doing so, and somebody stands; who stands with a log that is too short loses,
 * and who has the longest stands at its own next timeout. A vote that is split costs one more, and where every vote that is
 * left is needed two in a row are met once in a few thousand seeds (507300). The last is then elected in two rounds, pre-vote
 * and vote.
 *
 *   round     there, on the disk, and back: 2 d + f, each at LATE times its mean
 *   leader    TIMEOUTS * 2T + 2 rounds
 *
 * *Everything decided, everybody level.* What was proposed is committed in a few rounds. A member that lacks entries which are
 * gone gets a snapshot, window by window; where messages overtake each other a part comes too early, is dropped, and is
 * sent again after two silent heartbeats: no window takes more than three heartbeats and a round. A client that waits for an
 * answer that was lost asks again after ATTEMPT_US and gives up after OPERATION_US; it may have to open a session before.
 *
 *   well      leader + ROUNDS + windows, each a round and three heartbeats; + what a client may wait
 */
import { SNAPSHOT_PARTS_IN_FLIGHT } from '../../../protocols/limits.ts'
import type { Checker } from './checker.ts'

/** How long things may take from the end of faults on, in µs. */
export type Bounds = { readonly leaderUs: number; readonly wellUs: number }

/** What the bounds follow from. */
type Terms = {
  /** As the group goes by them. */
  readonly electionUs: number
  readonly heartbeatUs: number
  readonly delay: { readonly minUs: number; readonly meanUs: number; readonly spreadUs?: number }
  readonly disk: { readonly minUs: number; readonly meanUs: number }
  /** Of the largest snapshot, and of one part of it. */
  readonly stateBytes: number
  readonly partBytes: number
  /** The longest that a client waits before it asks again, or gives up, in all. */
  readonly clientUs: number
}

/** The look at what one group still lacks. */
export type Healing = {
  readonly group: string
  readonly forUs: number
  readonly bounds: Bounds
  /** Somebody leads, or has since faults ended. */
  readonly led: boolean
  /** What is not well; undefined when all is. */
  readonly sick: string | undefined
}

/** Exponential delays are longer than this many means once in 400 times. */
const LATE = 6
/** To stand at all, to stand with the longest log, and two votes that are split. */
const TIMEOUTS = 4
/** The leader's first entry, a joint configuration entered before it and left, the last writes, and each known to all. */
const ROUNDS = 12

export function boundsOf(terms: Terms): Bounds {
  const { electionUs, heartbeatUs, delay, disk, stateBytes, partBytes, clientUs } = terms
  const oneWayUs = delay.minUs + (delay.spreadUs ?? 0) + LATE * delay.meanUs
  const roundUs = 2 * oneWayUs + disk.minUs + LATE * disk.meanUs
  const windows = Math.ceil(stateBytes / partBytes / SNAPSHOT_PARTS_IN_FLIGHT)
  const leaderUs = TIMEOUTS * 2 * electionUs + 2 * roundUs
  return { leaderUs, wellUs: leaderUs + (ROUNDS + windows) * (roundUs + 3 * heartbeatUs) + clientUs }
}

const inS = (us: number): string => `${(us / 1_000_000).toFixed(2)} s`

export const LIVENESS: readonly Checker[] = [
  {
    id: 'I20',
    name: 'Liveness',
    what: 'after faults there is a leader within four election timeouts, and soon all is decided and everybody level',
    make: (_, broken) => ({
      healing({ group, forUs, bounds, led, sick }) {
        if (!led && forUs > bounds.leaderUs)
          broken(
            `${group} has no leader ${inS(forUs)} after faults ended, ${inS(bounds.leaderUs)} are enough`,
          )
        if (sick !== undefined && forUs > bounds.wellUs)
          broken(
            `${group} is not well ${inS(forUs)} after faults ended, ${inS(bounds.wellUs)} are enough: ${sick}`,
          )
      },
    }),
  },
]
