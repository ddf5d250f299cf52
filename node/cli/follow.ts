/**
 * Waits for a job and shows how it goes. The job does not depend on who watches it: Ctrl-C only ends the watching (a
 * second one cancels), and a peer that restarts is asked again.
 */
import { describeFailure, failureOf, GodwitError } from '../../protocols/errors.ts'
import type { JobView } from '../views.ts'
import { failureOfJob } from './failures.ts'
import { humanBytes, humanSeconds } from './human.ts'
import { progress } from './progress.ts'
import type { Session } from './session.ts'

const LOOK_MS = 250
/** One look; a job on another peer is asked for over a slow link. */
const ANSWER_MS = 5_000
/** A peer that restarts is back in two seconds; one that is not in this time needs somebody. */
const GONE_MS_MAX = 15_000
/** Time for a second Ctrl-C to mean: cancel. */
const SECOND_MS = 2_000

export const INTERRUPTED = 130

/** @throws Refused the job's failure; GodwitError TIMEOUT while the job goes on. */
export async function follow(session: Session, id: string): Promise<{ job: JobView } | { exit: number }> {
  const { io } = session
  const drawing = progress(session, session.has('quiet'))
  const endMs = io.nowMs() + session.timeoutMs
  let interrupts = 0
  let detachMs = Number.POSITIVE_INFINITY
  let cancelling = false
  const ignore = io.onInterrupt(() => {
    interrupts++
    if (interrupts > 1) return
    drawing.end()
    detachMs = io.nowMs() + SECOND_MS
    session.note(`Ctrl-C again within ${SECOND_MS / 1_000} s cancels the job.`)
  })
  try {
    for (;;) {
      const job = await look(session, id)
      if (job !== undefined) {
        if (job.state !== 'running') {
          drawing.end()
          if (interrupts > 1 && job.state === 'cancelled') {
            session.note(`Job ${id} is cancelled.`)
            return { exit: INTERRUPTED }
          }
          return ended(job)
        }
        if (interrupts === 0 || cancelling) drawing.show(job)
      }
      if (interrupts > 1 && !cancelling) {
        cancelling = true
        session.note('Cancelling.')
        // It may have ended just now: the next look says how.
        await session.ask('job.cancel', { name: id }, ANSWER_MS).catch((error: unknown) => {
          session.note(describeFailure(failureOf(error)))
        })
      }
      if (!cancelling && io.nowMs() >= detachMs) {
        session.note(resume(id))
        return { exit: INTERRUPTED }
      }
      if (io.nowMs() >= endMs) {
        drawing.end()
        session.note(resume(id))
        throw new GodwitError({ code: 'TIMEOUT', what: `job ${id}`, afterMs: session.timeoutMs })
      }
      await io.sleep(LOOK_MS)
    }
  } finally {
    drawing.end()
    ignore()
  }
}

const resume = (id: string): string =>
  `Job ${id} goes on. Watch it: godwit job watch ${id}. Cancel it: godwit job cancel ${id}.`

function ended(job: JobView): { job: JobView } {
  if (job.state === 'done') return { job }
  throw failureOfJob(job)
}

/** Undefined when it could not be seen just now. */
async function look(session: Session, id: string): Promise<JobView | undefined> {
  const endMs = session.io.nowMs() + GONE_MS_MAX
  for (;;) {
    try {
      return (await session.ask('job.show', { name: id }, ANSWER_MS)).value as JobView
    } catch (error) {
      const { code } = failureOf(error)
      if (code === 'TIMEOUT' || code === 'PEER_UNREACHABLE' || code === 'PEER_BUSY') return undefined
      const restarting = code === 'DAEMON_UNREACHABLE' || code === 'STOPPING'
      if (!restarting || session.io.nowMs() >= endMs) throw error
      session.close()
      await session.io.sleep(LOOK_MS * 2)
    }
  }
}

/** What a person is told of a job that is done; the four byte figures for what went over a wire. */
export function summary(job: JobView): string {
  const { endedAt, kind, result, startedAt, standstillMs, subject } = job
  const tookMs = endedAt === null ? 0 : Date.parse(endedAt) - Date.parse(startedAt)
  const lines = [`${DONE[kind]} ${subject} in ${humanSeconds(Math.max(0, tookMs))}`]
  const figure = (name: string, text: string): void =>
    void lines.push(`  ${name.padEnd(14)}${text.padStart(10)}`)
  if (kind === 'move' || kind === 'image-pull') {
    figure('logical', humanBytes(job.logicalBytes))
    figure('deduplicated', humanBytes(job.dedupBytes))
    figure('compressed', humanBytes(job.compressedBytes))
    figure('on the wire', humanBytes(job.wireBytes))
  }
  if (standstillMs !== null) figure('stood still', humanSeconds(standstillMs))
  for (const [name, text] of Object.entries(result)) lines.push(`  ${name.padEnd(14)}${text}`)
  return `${lines.join('\n')}\n`
}

const DONE: Readonly<Record<JobView['kind'], string>> = {
  move: 'moved',
  'image-import': 'imported',
  'image-export': 'exported',
  'image-verify': 'verified',
  'image-pull': 'pulled',
  'image-publish': 'published',
}
