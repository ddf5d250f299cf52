/**
 * How a running job looks on stderr: one line that is redrawn on a terminal, else a line at most every second (JSON with
 * `-o jsonl`). Figures never run backwards, whatever order the news comes in.
 */
import { SCHEMA } from '../control/envelope.ts'
import type { JobView } from '../views.ts'
import { clean, humanBytes, humanDuration, humanShare } from './human.ts'
import type { Session } from './session.ts'

const LINE_MS = 1_000

export type Progress = { show(job: JobView): void; end(): void }

export function progress({ io, output }: Session, quiet: boolean): Progress {
  let best: JobView | undefined
  let shownMs = Number.NEGATIVE_INFINITY
  let shown = ''
  let drawn = false
  const json = output.format === 'jsonl'
  const redraw = io.stderrTty && !json
  const put = (text: string): void => {
    io.err(redraw ? `\r\u001b[K${text.slice(0, Math.max(20, io.columns - 1))}` : `${text}\n`)
    drawn = redraw
  }
  return {
    show(job) {
      best = onward(best, job)
      if (quiet) return
      const nowMs = io.nowMs()
      // A terminal shows every look at the job; a log has enough with one line a second, and one for each new phase.
      if (!redraw && nowMs - shownMs < LINE_MS) return
      const text = json ? jsonLine(best) : line(best)
      if (text === shown) return
      put(text)
      shown = text
      shownMs = nowMs
    },
    end() {
      if (drawn) io.err('\r\u001b[K')
      drawn = false
    },
  }
}

/** The newer news, with figures at least as far on. */
function onward(before: JobView | undefined, now: JobView): JobView {
  if (before === undefined) return now
  const most = (key: 'doneBytes' | 'totalBytes' | 'wireBytes'): number => Math.max(before[key], now[key])
  return {
    ...now,
    doneBytes: most('doneBytes'),
    totalBytes: most('totalBytes'),
    wireBytes: most('wireBytes'),
  }
}

function line(job: JobView): string {
  const { bytesPerSecond, doneBytes, etaSeconds, kind, phase, sources, subject, totalBytes, wireBytes } = job
  const parts = [`${kind} ${subject}: ${phase}`]
  if (totalBytes > 0) {
    const share = humanShare(Math.min(1, doneBytes / totalBytes))
    parts.push(`${humanBytes(doneBytes)} of ${humanBytes(totalBytes)} (${share})`)
  }
  if (bytesPerSecond > 0) parts.push(`${humanBytes(bytesPerSecond)}/s`)
  if (etaSeconds !== null && etaSeconds > 0) parts.push(`${humanDuration(etaSeconds * 1_000)} left`)
  if (wireBytes > 0) parts.push(`${humanBytes(wireBytes)} on the wire`)
  if (sources > 0) parts.push(`${sources} ${sources === 1 ? 'source' : 'sources'}`)
  return clean(parts.join(', '))
}

const jsonLine = (job: JobView): string => JSON.stringify({ schema: SCHEMA, kind: 'progress', item: job })
