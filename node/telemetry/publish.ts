/**
 * When a peer samples itself and tells its site, and when a site's leader tells the mesh; and how what is told is made to
 * fit. Changes hurry it, within a bound, so that a VM's new state is seen at once and a storm of changes is not a storm
 * of messages.
 */
import type { Codec } from '../../protocols/codec.ts'
import type { Dice } from '../../protocols/clock.ts'
import { GodwitError } from '../../protocols/errors.ts'
import { DIGEST_MS, HURRY_DIGEST_MS, HURRY_MS, SAMPLE_MS } from '../../protocols/limits.ts'
import { type Digest, digest, type Sample, sample } from '../../protocols/telemetry/messages.ts'

export type Publishing = { readonly sample: Beat; readonly digest: Beat }
type Beat = {
  readonly periodMs: number
  /** The shortest time between two, however much changes. */
  readonly hurryMs: number
  lastMs: number
  nextMs: number
  sequence: number
}

export type Event =
  /** At least every HURRY_MS. `leads`: this peer leads its site's group. */
  | { readonly kind: 'tick'; readonly nowMs: number; readonly leads: boolean }
  /** Something that others would want to know has changed. */
  | { readonly kind: 'hurry'; readonly nowMs: number }

export type Effect = { readonly kind: 'sample' | 'digest'; readonly sequence: number }

/** The first sample goes out soon, at a moment that the dice choose: peers that start together do not speak together. */
export function newPublishing(nowMs: number, dice: Dice): Publishing {
  const beat = (periodMs: number, hurryMs: number): Beat => ({
    periodMs,
    hurryMs,
    lastMs: Number.NEGATIVE_INFINITY,
    nextMs: nowMs + dice() * HURRY_MS,
    sequence: 0,
  })
  return { sample: beat(SAMPLE_MS, HURRY_MS), digest: beat(DIGEST_MS, HURRY_DIGEST_MS) }
}

export function step(publishing: Publishing, event: Event, dice: Dice): Effect[] {
  const { sample, digest } = publishing
  if (event.kind === 'hurry') {
    for (const beat of [sample, digest])
      beat.nextMs = Math.min(beat.nextMs, Math.max(event.nowMs, beat.lastMs + beat.hurryMs))
    return []
  }
  const effects: Effect[] = []
  if (due(sample, event.nowMs, dice)) effects.push({ kind: 'sample', sequence: sample.sequence })
  // Who does not lead waits at the ready: the first digest of a new leader goes out with its next tick.
  if (event.leads && due(digest, event.nowMs, dice))
    effects.push({ kind: 'digest', sequence: digest.sequence })
  return effects
}

function due(beat: Beat, nowMs: number, dice: Dice): boolean {
  if (nowMs < beat.nextMs) return false
  beat.lastMs = nowMs
  beat.nextMs = nowMs + beat.periodMs * (0.9 + 0.2 * dice())
  beat.sequence++
  return true
}

/** A sample as a frame; what does not fit goes, jobs first: who asks this peer itself still sees everything. */
export const frameOfSample = (full: Sample): Uint8Array =>
  fitting(sample, full, (each) =>
    each.jobs.length > 0 ? { ...each, jobs: fewer(each.jobs) } : { ...each, vms: fewer(each.vms) },
  )

/** A digest as a frame; it names as many VMs as fit, and counts them all. */
export const frameOfDigest = (full: Digest): Uint8Array =>
  fitting(digest, full, (each) => ({ ...each, vms: fewer(each.vms) }))

function fitting<T>(codec: Codec<T>, full: T, shrink: (each: T) => T): Uint8Array {
  for (let each = full; ; each = shrink(each)) {
    try {
      return codec.encode(each)
    } catch (error) {
      if (!(error instanceof GodwitError) || error.failure.code !== 'FRAME_TOO_LARGE') throw error
    }
  }
}

const fewer = <T>(items: readonly T[]): T[] => items.slice(0, Math.floor(items.length * 0.75))
