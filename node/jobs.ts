/**
 * Jobs of this peer: long actions with an id, a phase and figures that never run backwards. What a job must survive
 * stands elsewhere (logs, chunk store, promises); this is what people watch.
 */
import type { Clock } from '../protocols/clock.ts'
import { describeFailure, type Failure } from '../protocols/errors.ts'
import { JOBS_KEPT } from '../protocols/limits.ts'
import type { JobView } from './views.ts'

type Figures = Partial<
  Pick<
    JobView,
    | 'phase'
    | 'doneBytes'
    | 'totalBytes'
    | 'sources'
    | 'logicalBytes'
    | 'dedupBytes'
    | 'compressedBytes'
    | 'wireBytes'
    | 'standstillMs'
    | 'result'
  >
>

type Job = {
  view: JobView
  startedMs: number
  cancel: (() => void) | undefined
  rate: { atMs: number; bytes: number }
}

export class Jobs {
  readonly #clock: Clock
  readonly #peer: string
  readonly #changed: () => void
  readonly #jobs = new Map<string, Job>()

  constructor(clock: Clock, peer: string, changed: () => void) {
    this.#clock = clock
    this.#peer = peer
    this.#changed = changed
  }

  begin(id: string, kind: JobView['kind'], subject: string, cancel?: () => void): void {
    const nowMs = this.#clock.nowMs()
    const view: JobView = {
      id,
      kind,
      subject,
      peer: this.#peer,
      state: 'running',
      phase: 'starting',
      error: '',
      code: '',
      startedAt: new Date(this.#clock.wallMs()).toISOString(),
      endedAt: null,
      doneBytes: 0,
      totalBytes: 0,
      bytesPerSecond: 0,
      etaSeconds: null,
      sources: 0,
      logicalBytes: 0,
      dedupBytes: 0,
      compressedBytes: 0,
      wireBytes: 0,
      standstillMs: null,
      result: {},
      ageMs: 0,
    }
    this.#jobs.set(id, { view, startedMs: nowMs, cancel, rate: { atMs: nowMs, bytes: 0 } })
    for (const [old, job] of this.#jobs) {
      if (this.#jobs.size <= JOBS_KEPT) break
      if (job.view.state !== 'running') this.#jobs.delete(old)
    }
    this.#changed()
  }

  progress(id: string, figures: Figures): void {
    const job = this.#jobs.get(id)
    if (job === undefined || job.view.state !== 'running') return
    const { view } = job
    const doneBytes = Math.max(view.doneBytes, figures.doneBytes ?? 0)
    const totalBytes = Math.max(view.totalBytes, figures.totalBytes ?? 0, doneBytes)
    Object.assign(view, figures, { doneBytes, totalBytes })
    const nowMs = this.#clock.nowMs()
    // What is done when the first figures come was here before: zeros, chunks that are held. It is no speed.
    if (job.rate.bytes === 0 && view.bytesPerSecond === 0) job.rate = { atMs: nowMs, bytes: doneBytes }
    const spanMs = nowMs - job.rate.atMs
    if (spanMs >= 500) {
      const fresh = ((doneBytes - job.rate.bytes) * 1_000) / spanMs
      view.bytesPerSecond = Math.round(
        view.bytesPerSecond === 0 ? fresh : view.bytesPerSecond * 0.6 + fresh * 0.4,
      )
      job.rate = { atMs: nowMs, bytes: doneBytes }
    }
    view.etaSeconds =
      view.bytesPerSecond > 0 ? Math.ceil((totalBytes - doneBytes) / view.bytesPerSecond) : null
    this.#changed()
  }

  end(id: string, failure: Failure | undefined, figures: Figures = {}): void {
    this.progress(id, figures)
    const job = this.#jobs.get(id)
    if (job === undefined || job.view.state !== 'running') return
    const { view } = job
    const isCancelled = failure?.code === 'MOVE_CANCELLED' || failure?.code === 'CANCELLED'
    view.state = failure === undefined ? 'done' : isCancelled ? 'cancelled' : 'failed'
    view.phase = view.state
    view.error = failure === undefined ? '' : describeFailure(failure)
    view.code = failure?.code ?? ''
    view.endedAt = new Date(this.#clock.wallMs()).toISOString()
    view.etaSeconds = null
    this.#changed()
  }

  /** True when there was something to cancel; the job ends by itself when it has been undone. */
  cancel(id: string): boolean {
    const job = this.#jobs.get(id)
    if (job?.view.state !== 'running' || job.cancel === undefined) return false
    job.cancel()
    return true
  }

  get(id: string): JobView | undefined {
    return this.#jobs.get(id)?.view
  }

  /** Newest first. */
  list(): JobView[] {
    return [...this.#jobs.values()].map(({ view }) => view).toReversed()
  }
}
