/** What etcd's core would log about the log: appends, snapshots, and what a leader learns of them. Pure; see narrate.ts. */
import { lastIndex, lastTerm } from '../../../protocols/raft/log.ts'
import type { MemberId } from '../../../protocols/raft/member.ts'
import type { Message, MessageOf } from '../../../protocols/raft/messages.ts'
import type { Progress } from '../../../protocols/raft/progress.ts'
import type { Raft } from '../../../protocols/raft/raft.ts'
import type { Configuration } from '../../../protocols/raft/types.ts'
import { nameOf } from './members.ts'
import { progressText, switchedText, termOrZero } from './text.ts'
import { saidSince, type View } from './view.ts'

const id = ({ config }: Raft): string => nameOf(config.self)

export function append(
  before: View,
  { from, index, logTerm, entries }: MessageOf<'MsgApp'>,
  raft: Raft,
): string[] {
  const answer = saidSince(before, raft).find((each) => each.kind === 'MsgAppResp')
  if (answer?.kind === 'MsgAppResp' && answer.reject) {
    const own = `[logterm: ${termOrZero(raft, index)}, index: ${index}]`
    return [
      `DEBUG ${id(raft)} ${own} rejected MsgApp [logterm: ${logTerm}, index: ${index}] from ${nameOf(from)}`,
    ]
  }
  for (const [at, { term }] of entries.entries()) {
    const place = index + 1 + at
    const held = before.entries[place - before.base - 1]
    if (held === undefined || held.term === term) continue
    // `written`: up to here it is on disk or on its way there.
    const how =
      place <= before.stable + 1
        ? 'replace the unstable entries from'
        : 'truncate the unstable entries before'
    return [
      `INFO found conflict at index ${place} [existing term: ${held.term}, conflicting term: ${term}]`,
      `INFO ${how} index ${place}`,
    ]
  }
  return []
}

export function restore(before: View, heard: MessageOf<'MsgSnap'>, raft: Raft): string[] {
  if (raft.role === 'leader') {
    return raft.progress.has(heard.from)
      ? []
      : [`DEBUG ${id(raft)} no progress available for ${nameOf(heard.from)}`]
  }
  const { index, logTerm } = heard
  const { log } = raft
  const what = `snapshot [index: ${index}, term: ${logTerm}]`
  const last = `lastindex: ${lastIndex(log)}, lastterm: ${lastTerm(log)}`
  const end = `[commit: ${log.commit}, ${last}]`
  if (before.commit >= index) return [`INFO ${id(raft)} [commit: ${log.commit}] ignored ${what}`]
  if (log.base.index !== index) {
    return log.commit < index
      ? []
      : [
          `INFO ${id(raft)} [commit: ${before.commit}, ${last}] fast-forwarded commit to ${what}`,
          `INFO ${id(raft)} [commit: ${log.commit}] ignored ${what}`,
        ]
  }
  const done = `committed=${before.commit}, applied=${before.applied}, applying=${before.applying}`
  const unstable = `unstable.offset=${before.stable + 1}, unstable.offsetInProgress=${before.written + 1}`
  const count = `len(unstable.Entries)=${before.lastIndex - before.stable}`
  return [
    `INFO log [${done}, ${unstable}, ${count}] starts to restore ${what}`,
    switchedText(raft, raft.configuration),
    `INFO ${id(raft)} ${end} restored ${what}`,
    `INFO ${id(raft)} [commit: ${log.commit}] restored ${what}`,
  ]
}

export const shown = (
  progress: Progress,
  member: MemberId,
  { configuration }: { configuration: Configuration },
): string => progressText({ ...progress, isLearner: configuration.learners.includes(member) })

export function appendResponse(before: View, heard: MessageOf<'MsgAppResp'>, raft: Raft): string[] {
  const { from, reject, rejectHint, logTerm, index } = heard
  const was = before.progress.get(from)
  const is = raft.progress.get(from)
  if (was === undefined || is === undefined || raft.role !== 'leader') return []
  if (reject) {
    const hint = `(index ${rejectHint}, term ${logTerm})`
    const heardOf = `DEBUG ${id(raft)} received MsgAppResp(rejected, hint: ${hint}) from ${nameOf(from)} for index ${index}`
    const next = is.transfer === undefined ? is.next : decreasedTo(before, was, heard)
    const moved = was.state !== 'snapshot' && (is.state !== was.state || next !== was.next)
    const then = { ...was, next, recentActive: true, paused: was.state === 'replicate' && was.paused }
    const decreased = `DEBUG ${id(raft)} decreased progress of ${nameOf(from)} to [${shown(then, from, before)}]`
    return moved ? [heardOf, decreased] : [heardOf]
  }
  const lines: string[] = []
  if (was.state === 'snapshot' && is.state === 'replicate') {
    const then = { ...was, match: index, next: Math.max(was.next, index + 1), recentActive: true }
    const what = `resumed sending replication messages to ${nameOf(from)} [${shown(then, from, before)}]`
    lines.push(`DEBUG ${id(raft)} recovered from needing snapshot, ${what}`)
  }
  if (saidSince(before, raft).some(({ kind, to }) => kind === 'MsgTimeoutNow' && to === from)) {
    lines.push(`INFO ${id(raft)} sent MsgTimeoutNow to ${nameOf(from)} after received MsgAppResp`)
  }
  return lines
}

/** Where a probe goes back to, which a snapshot that is sent at once hides. */
function decreasedTo(
  before: View,
  was: Progress,
  { index, rejectHint, logTerm }: MessageOf<'MsgAppResp'>,
): number {
  if (was.state === 'replicate') return was.match + 1
  let hint = rejectHint
  const termOf = (at: number): number => before.entries[at - before.base - 1]?.term ?? 0
  const mayMeet = (at: number): boolean => logTerm === 0 || termOf(at) <= logTerm
  while (!mayMeet(hint)) hint--
  return Math.max(Math.min(index, hint + 1), was.match + 1)
}

/** Snapshots that a message made the leader send. */
export function snapshots(before: View, heard: Message, raft: Raft): string[] {
  return saidSince(before, raft).flatMap((sent) => {
    if (sent.kind !== 'MsgSnap' || sent.offset !== 0) return []
    const was = before.progress.get(sent.to)
    const is = raft.progress.get(sent.to)
    if (was === undefined || is?.transfer === undefined) return []
    const isRejected = heard.kind === 'MsgAppResp' && heard.reject && heard.from === sent.to
    const next = isRejected ? decreasedTo(before, was, heard) : was.next
    const probed = { ...is, state: 'probe' as const, transfer: undefined, next, paused: false }
    const to = nameOf(sent.to)
    const place = `[firstindex: ${raft.log.base.index + 1}, commit: ${raft.log.commit}]`
    const what = `sent snapshot[index: ${sent.index}, term: ${sent.logTerm}]`
    return [
      `DEBUG ${id(raft)} ${place} ${what} to ${to} [${shown(probed, sent.to, raft)}]`,
      `DEBUG ${id(raft)} paused sending replication messages to ${to} [${shown(is, sent.to, raft)}]`,
    ]
  })
}
