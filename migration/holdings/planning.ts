/**
 * What it would cost to bring an image here: nothing is fetched and nothing is changed. Within a few round trips it is known who
 * holds what is missing (survey.ts), which of it would come from where (plan.ts), and what its stored frames take, asked of
 * those who hold them.
 */
import type { Clock } from '../../protocols/clock.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { HOLDINGS_CHUNKS_MAX, HOLDINGS_MS } from '../../protocols/limits.ts'
import { type Done, ok } from '../../protocols/outcome.ts'
import { encodeSection } from '../../protocols/swarm/have-map.ts'
import type { Transport } from '../../protocols/transport.ts'
import type { ChunkStore } from '../../storage/images/chunk-store.ts'
import { chunkCount, chunkLength, type Manifest } from '../../storage/images/manifest.ts'
import { missingOf } from '../swarm/missing.ts'
import { askImage } from './asking.ts'
import { type Class, classify, type Holder, type Link, linksOf } from './plan.ts'
import { asMissing, type Candidate, survey } from './survey.ts'

export type Plan = {
  /** Chunks to fetch, each content once, and their content. */
  readonly chunks: number
  readonly contentBytes: number
  /** What they take as stored frames, as far as somebody in sight holds them. */
  readonly frameBytes: number
  /** All that would cross, both ways. */
  readonly wireBytes: number
  /** Of those chunks, how many nobody in sight holds. */
  readonly nowhere: number
  readonly links: readonly Link[]
  readonly silent: readonly PeerId[]
  readonly unable: readonly PeerId[]
}

export type PlanningPorts = {
  readonly transport: Pick<Transport, 'request'>
  readonly chunks: Pick<ChunkStore, 'has'>
  readonly dice: () => number
  readonly clock: Clock
}

/** A terabyte is 64 sections, which a far peer answers one after the other. */
const PLAN_MS = 20_000
/** Questions about what a part of a holder's chunks takes; past it the mean of all that it holds is taken. */
const MEASURED_MAX = 64
/** Of them at once: a source answers HOLDINGS_IN_HAND_MAX for all. */
const AT_ONCE = 4

export function planDownload(
  ports: PlanningPorts,
  manifest: Manifest,
  candidates: readonly Candidate[],
  done: Done<Plan>,
): void {
  missingOf(manifest, ports.chunks, (outcome) => {
    if (!outcome.ok) return done(outcome)
    // Eight bytes a chunk, while it is planned.
    const needed = [...outcome.value]
    const terms = { ...ports, exact: true, withinMs: PLAN_MS }
    survey(terms, asMissing(manifest, needed), candidates, ({ holders, silent, unable }) => {
      const { classes, nowhere } = classify(needed, holders)
      measure(ports, manifest, classes, (measured) => {
        const links = linksOf(measured, holders, { chunks: chunkCount(manifest), needed: needed.length })
        done(
          ok({
            chunks: needed.length,
            contentBytes: needed.reduce((sum, index) => sum + chunkLength(manifest, index), 0),
            frameBytes: measured.reduce((sum, { frameBytes }) => sum + frameBytes, 0),
            wireBytes: links.reduce((sum, { wireBytes }) => sum + wireBytes, 0),
            nowhere,
            links,
            silent,
            unable,
          }),
        )
      })
    })
  })
}

type Measured = { readonly of: Class; frameBytes: number }

/** What the chunks of each class take: known where it is all that somebody holds, else asked. */
function measure(
  ports: PlanningPorts,
  manifest: Manifest,
  classes: readonly Class[],
  done: (measured: readonly Measured[]) => void,
): void {
  const measured = classes.map((of): Measured => ({ of, frameBytes: 0 }))
  const questions: { of: Measured; holder: Holder; indexes: readonly number[]; mean: number }[] = []
  for (const of of measured)
    for (const { holder, indexes } of of.of.parts) {
      const mean = (holder.frameBytes / Math.max(1, holder.held)) * indexes.length
      const isKnown = holder.held === indexes.length || !holder.knows
      if (isKnown || questions.length >= MEASURED_MAX) of.frameBytes += mean
      else questions.push({ of, holder, indexes, mean })
    }
  let working = Math.min(AT_ONCE, questions.length)
  const work = (): void => {
    const next = questions.pop()
    if (next === undefined) return --working > 0 ? undefined : done(measured)
    framesOf(ports.transport, manifest, next.holder.peer, next.indexes, (outcome) => {
      next.of.frameBytes += outcome.ok ? outcome.value : next.mean
      work()
    })
  }
  if (working === 0) return done(measured)
  for (let begun = working; begun > 0; begun--) work()
}

/** What a holder's frames of these chunks take, in order of their sections. */
function framesOf(
  transport: PlanningPorts['transport'],
  { image }: Manifest,
  peer: PeerId,
  indexes: readonly number[],
  done: Done<number>,
): void {
  let sum = 0
  const go = (place: number): void => {
    const first = indexes[place]
    if (first === undefined) return done(ok(sum))
    const from = first - (first % HOLDINGS_CHUNKS_MAX)
    let end = place
    while (end < indexes.length && (indexes[end] as number) < from + HOLDINGS_CHUNKS_MAX) end++
    const wanted = Array.from({ length: (indexes[end - 1] as number) - from + 1 }, () => false)
    for (let at = place; at < end; at++) wanted[(indexes[at] as number) - from] = true
    const { form, data } = encodeSection(from, wanted)
    const about = { image, from, count: wanted.length, need: { form, data } }
    askImage(transport, peer, about, HOLDINGS_MS, (outcome) => {
      if (!outcome.ok) return done(outcome)
      if (outcome.value.kind === 'image') sum += outcome.value.frameBytes
      go(end)
    })
  }
  go(0)
}
