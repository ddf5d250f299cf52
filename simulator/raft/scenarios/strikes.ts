/** What several scenarios do to leaders. */
import type { Member } from '../member.ts'
import type { Script } from '../scenario.ts'

const MS = 1_000
const SECOND = 1_000_000

/** Runs once for each member that comes to lead after now, at the first instant, for `seconds`. */
export function atEachElection(script: Script, seconds: number, run: (leader: Member) => void): void {
  const { timeline } = script.simulation
  const untilUs = timeline.nowUs + seconds * SECOND
  let seen = script.group.elected.length
  const look = (): void => {
    const { elected } = script.group
    for (; seen < elected.length; seen++) {
      const leader = script.group.members.get(elected[seen]?.id ?? '')
      if (leader !== undefined && leader.raft.role === 'leader') run(leader)
    }
    if (timeline.nowUs < untilUs) timeline.after(MS, look)
  }
  look()
}

/** The leader loses power `times` times, `seconds` apart, for less than that. */
export function strikeLeaders(script: Script, seconds: number, times: number): void {
  script.every(3, seconds, times, () => {
    const [leader] = script.group.leaders()
    if (leader !== undefined) script.crash(leader.host, seconds / 3)
  })
}

/** A disk on which there is always a write under way. */
export const SLOW_DISK = { minUs: 5 * MS, meanUs: 150 * MS }

/** Hosts beyond the voters, for changes to bring in. */
export function spares(seed: number, hosts: number): { hosts: number; seed: number } {
  return { hosts, seed }
}
