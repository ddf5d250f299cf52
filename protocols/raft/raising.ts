/** When a leader may have its group's feature level raised (features.ts). Pure. */
import type { MemberId } from './member.ts'
import type { Status } from './raft.ts'

/** Members that do not know `level`, as far as this leader has heard, or that are out of sight. */
export const lacking = ({ progress }: Status, level: number): MemberId[] =>
  progress.filter((each) => each.level < level || !each.recentActive).map(({ peer }) => peer)

/** What the group is to be raised to from `agreed`; undefined when it is nothing higher, or not this peer's to say. */
export function levelToRaise(status: Status, agreed: number): number | undefined {
  const { role, progress } = status
  if (role !== 'leader' || progress.length === 0) return undefined
  const level = Math.min(...progress.map((each) => (each.recentActive ? each.level : 0)))
  return level > agreed ? level : undefined
}
