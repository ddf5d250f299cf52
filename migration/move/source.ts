/**
 * The source's half of a cold move m (DESIGN sections 3 and 8).
 *
 * Invariant (simulator/checkers/one-owner.ts): a guest runs on at most one host. Once `promise` is synced the source
 * runs the guest again only on the committed cancel of m; the destination runs it only on the committed take. Both are
 * compare-and-set in one log, the owning one: the site's inside a site, else the mesh's.
 *
 *   reserving ─▶ intending ─▶ marking ─▶ seeding ─▶ stopping ─▶ capturing ─▶ promising ─▶ offering ─take──▶ taken ─▶ done
 *   (these two only between sites)          └──────────┴─── refused, deadline, operator ──────┴─▶ cancelling ─▶ cancelled
 *
 * Frames get lost: what a phase waits for is asked again on every tick, here and nowhere else.
 */
import type { Failure } from '../../protocols/errors.ts'
import { type Cost, type Message, NO_COST } from '../../protocols/move/messages.ts'

export type Phase =
  | 'reserving'
  | 'intending'
  | 'marking'
  | 'seeding'
  | 'stopping'
  | 'capturing'
  | 'promising'
  | 'offering'
  | 'cancelling'
  | 'taken'
  | 'done'
  | 'cancelled'

export type DiskImage = { readonly image: string; readonly bytes: number }

export type Source = {
  readonly m: string
  readonly vm: string
  readonly name: string
  readonly scope: 'site' | 'mesh'
  /** Site the VM leaves. */
  readonly from: string
  readonly epoch: readonly [number, number, number, number]
  readonly spec: string
  readonly wanted: 'running' | 'stopped'
  /** What the disks were made from: the destination fetches these while the guest still runs. */
  readonly base: readonly DiskImage[]
  /** How long nothing may come of it before it is withdrawn, ms. */
  readonly patienceMs: number
  phase: Phase
  /** The disks as they were when the guest had stopped. */
  images: readonly DiskImage[]
  cost: Cost
  /** What the destination says it is at. */
  remote: string
  stoppedAtMs: number
  standstillMs: number
  why: string
  failure: Failure | undefined
  /** When it last got anywhere. */
  movedMs: number
  /** Set by the driver before each event. */
  nowMs: number
}

export type SourceEvent =
  | { readonly kind: 'start' }
  /** The step that was asked for is committed. */
  | { readonly kind: 'agreed'; readonly step: Step }
  | { readonly kind: 'refused'; readonly step: Step; readonly failure: Failure }
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'captured'; readonly images: readonly DiskImage[] }
  | { readonly kind: 'promised' }
  /** Stopping, capturing or promising could not be done. */
  | { readonly kind: 'failed'; readonly failure: Failure }
  /** What the owning log says of m. */
  | { readonly kind: 'outcome'; readonly outcome: 'taken' | 'cancelled'; readonly why: string }
  | { readonly kind: 'cancel'; readonly why: string }
  | { readonly kind: 'tick' }

type Step = 'reserve' | 'intend' | 'mark'

export type SourceEffect =
  | { readonly kind: 'propose'; readonly step: Step | 'cancel' }
  | { readonly kind: 'send'; readonly message: Message }
  | { readonly kind: 'guest'; readonly action: 'stop' | 'capture' }
  | { readonly kind: 'promise'; readonly images: readonly DiskImage[] }
  /** m is cancelled: the promise is void, the guest may run here again. */
  | { readonly kind: 'resume' }
  /** m is taken: grant and disks here are history. */
  | { readonly kind: 'release' }

/** How long the destination may take to say that it runs, after the take; past it the move is done all the same. */
const CONFIRM_MS = 60_000

export function startSource(
  terms: Omit<
    Source,
    'phase' | 'movedMs' | 'images' | 'cost' | 'remote' | 'stoppedAtMs' | 'standstillMs' | 'why' | 'failure'
  >,
  recovered?: { readonly images: readonly DiskImage[] | undefined },
): Source {
  const phase: Phase =
    recovered === undefined
      ? terms.scope === 'mesh'
        ? 'reserving'
        : 'marking'
      : recovered.images === undefined
        ? 'seeding'
        : 'offering'
  return {
    ...terms,
    phase,
    movedMs: terms.nowMs,
    images: recovered?.images ?? [],
    cost: NO_COST,
    remote: '',
    stoppedAtMs: 0,
    standstillMs: 0,
    why: '',
    failure: undefined,
  }
}

/** Advances `source` by one event; returns what the driver must now do, in order. */
export function stepSource(source: Source, event: SourceEvent): SourceEffect[] {
  switch (event.kind) {
    case 'start':
      return ask(source)

    case 'agreed':
      if (event.step === 'reserve' && source.phase === 'reserving') return enter(source, 'intending')
      if (event.step === 'intend' && source.phase === 'intending') return enter(source, 'marking')
      if (event.step === 'mark' && source.phase === 'marking') return enter(source, 'seeding')
      return []

    case 'refused':
      return giveUp(source, event.failure)

    case 'message':
      return hear(source, event.message)

    case 'stopped':
      return source.phase === 'stopping' ? enter(source, 'capturing') : []

    case 'captured':
      if (source.phase !== 'capturing') return []
      source.images = event.images
      return enter(source, 'promising')

    case 'promised':
      return source.phase === 'promising' ? enter(source, 'offering') : []

    case 'failed':
      return canTurnBack(source) ? giveUp(source, event.failure) : []

    case 'outcome':
      return settle(source, event.outcome, event.why)

    case 'cancel':
      return giveUp(source, { code: 'MOVE_CANCELLED', vm: source.name, why: event.why })

    case 'tick':
      if (source.phase === 'taken' && source.nowMs - source.stoppedAtMs > CONFIRM_MS) source.phase = 'done'
      if (source.nowMs - source.movedMs >= source.patienceMs && canTurnBack(source)) {
        const what = `the move of ${source.name}`
        return giveUp(source, { code: 'TIMEOUT', what, afterMs: source.patienceMs })
      }
      return ask(source)
  }
}

export const sourceEnded = ({ phase }: Source): boolean => phase === 'done' || phase === 'cancelled'

/**
 * The guest is in the move's hands: nobody else starts or stops it. From the offer on the promise keeps it from starting;
 * before the stop, and in a cancel without a promise, it may run: nobody can have been offered it.
 */
export const holdsGuest = ({ phase }: Source): boolean =>
  phase === 'stopping' || phase === 'capturing' || phase === 'promising'

/** What each phase waits for, asked for (again). */
function ask(source: Source): SourceEffect[] {
  const { m, vm, name, scope, from, epoch, spec, wanted, images, base } = source
  switch (source.phase) {
    case 'reserving':
      return [{ kind: 'propose', step: 'reserve' }]
    case 'intending':
      return [{ kind: 'propose', step: 'intend' }]
    case 'marking':
      return [{ kind: 'propose', step: 'mark' }]
    case 'seeding':
      return [{ kind: 'send', message: { kind: 'seed', m, vm, images: [...base] } }]
    case 'stopping':
      return [{ kind: 'guest', action: 'stop' }]
    case 'capturing':
      return [{ kind: 'guest', action: 'capture' }]
    case 'promising':
      return [{ kind: 'promise', images }]
    case 'offering':
    case 'taken': // The destination answers an offer of what it has taken with `running`.
      return [
        {
          kind: 'send',
          message: { kind: 'offer', m, vm, name, scope, from, epoch, spec, wanted, images: [...images] },
        },
      ]
    case 'cancelling':
      return [{ kind: 'propose', step: 'cancel' }]
    default:
      return []
  }
}

function enter(source: Source, phase: Phase): SourceEffect[] {
  if (phase === 'stopping') source.stoppedAtMs = source.nowMs
  source.movedMs = source.nowMs
  source.phase = phase
  return ask(source)
}

function hear(source: Source, message: Message): SourceEffect[] {
  if (message.m !== source.m || sourceEnded(source)) return []
  switch (message.kind) {
    case 'progress':
      if (message.phase !== source.remote || message.cost.doneBytes > source.cost.doneBytes)
        source.movedMs = source.nowMs
      source.remote = message.phase
      source.cost = atLeast(source.cost, message.cost)
      return []
    case 'seeded':
      source.cost = atLeast(source.cost, message.cost)
      return source.phase === 'seeding' ? enter(source, 'stopping') : []
    case 'running':
      // A take that this peer has not heard of yet: its outcome comes by the log, and only from there.
      source.cost = atLeast(source.cost, message.cost)
      source.standstillMs = source.nowMs - source.stoppedAtMs
      if (source.phase === 'taken') source.phase = 'done'
      return []
    case 'refused':
      return giveUp(source, { code: 'MOVE_REFUSED', vm: source.name, why: message.why })
    default:
      return [] // Only destinations hear seeds and offers.
  }
}

/**
 * Nothing committed yet: the move simply ends. Once an intent or a mark may stand in a log, only a committed cancel
 * ends it, and a take that was first wins.
 */
function giveUp(source: Source, failure: Failure): SourceEffect[] {
  if (!canTurnBack(source)) return []
  source.failure = failure
  if (source.phase === 'reserving') return settle(source, 'cancelled', 'nothing was agreed on yet')
  return enter(source, 'cancelling')
}

/** Until the outcome is known a cancel may be asked for; the log decides which was first. */
const canTurnBack = ({ phase }: Source): boolean =>
  phase !== 'cancelling' && phase !== 'taken' && phase !== 'done' && phase !== 'cancelled'

function settle(source: Source, outcome: 'taken' | 'cancelled', why: string): SourceEffect[] {
  if (sourceEnded(source) || source.phase === 'taken') return []
  if (outcome === 'cancelled') {
    source.why = why
    source.phase = 'cancelled'
    return [{ kind: 'resume' }]
  }
  source.failure = undefined
  source.phase = source.standstillMs > 0 ? 'done' : 'taken'
  return [{ kind: 'release' }]
}

/** Progress never runs backwards, whatever order its frames come in. */
function atLeast(a: Cost, b: Cost): Cost {
  return {
    doneBytes: Math.max(a.doneBytes, b.doneBytes),
    totalBytes: Math.max(a.totalBytes, b.totalBytes),
    dedupBytes: Math.max(a.dedupBytes, b.dedupBytes),
    compressedBytes: Math.max(a.compressedBytes, b.compressedBytes),
    wireBytes: Math.max(a.wireBytes, b.wireBytes),
    sources: b.sources,
  }
}
