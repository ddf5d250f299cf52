/**
 * Who holds what of some chunks of an image: every candidate is asked, section by section; one that never saw the image is asked
 * with a digest, and when that hits and it matters, for every chunk by its name. All at once, with a bound on their silence.
 */
import type { Clock } from '../../protocols/clock.ts'
import type { Failure } from '../../protocols/errors.ts'
import type { ImageId, PeerId } from '../../protocols/ids.ts'
import {
  HOLDINGS_CHUNKS_MAX,
  HOLDINGS_MS,
  HOLDINGS_SAMPLE_MAX,
  LISTED_CHUNKS_MAX,
} from '../../protocols/limits.ts'
import { type Done, ok, type Outcome } from '../../protocols/outcome.ts'
import { decodeSection, encodeSection, isSet, set } from '../../protocols/swarm/have-map.ts'
import type { Transport } from '../../protocols/transport.ts'
import { chunkCount, type Manifest, readableChunkAt } from '../../storage/images/manifest.ts'
import { askChunks, askImage, sampleOf } from './asking.ts'
import type { Holder } from './plan.ts'

export type Candidate = { readonly peer: PeerId; readonly site: string; readonly near: boolean }

export type Surveyed = {
  readonly holders: readonly Holder[]
  /** Said nothing in time, or had too much in hand. */
  readonly silent: readonly PeerId[]
  /** Of a version that does not know the question. */
  readonly unable: readonly PeerId[]
}

export type Missing = {
  readonly manifest: Manifest
  /** In order. */
  readonly needed: readonly number[]
  /** One bit for each of them. */
  readonly bits: Uint8Array
}

type Asks = Pick<Transport, 'request'>
type Count = { have: Uint8Array; held: number; frameBytes: number }

export function asMissing(manifest: Manifest, needed: readonly number[]): Missing {
  const bits = new Uint8Array(Math.ceil(chunkCount(manifest) / 8))
  for (const index of needed) set(bits, index)
  return { manifest, needed, bits }
}

export type SurveyTerms = {
  readonly transport: Asks
  readonly clock: Clock
  readonly dice: () => number
  /** Of a peer that does not know the image, each chunk by its name; else a sample stands for them. */
  readonly exact: boolean
  /** Who has not said all by then is silent. */
  readonly withinMs: number
}

/** Answers are in the order of `candidates`. */
export const survey = (
  terms: SurveyTerms,
  missing: Missing,
  candidates: readonly Candidate[],
  done: (surveyed: Surveyed) => void,
): void =>
  gather(terms, candidates, (candidate, answered) => askOne(terms, missing, candidate, answered), done)

/** The same of an image whose manifest is not here: all of it is asked about. `content` is what of it is not zeros. */
export function surveyUnseen(
  terms: SurveyTerms,
  image: ImageId,
  candidates: readonly Candidate[],
  done: (surveyed: Surveyed & { readonly content: number }) => void,
): void {
  let most = 0
  gather(
    terms,
    candidates,
    (candidate, answered) => {
      const count: Count = { have: new Uint8Array(0), held: 0, frameBytes: 0 }
      let content = 0
      const ask = (from: number): void =>
        askImage(
          terms.transport,
          candidate.peer,
          { image, from, count: HOLDINGS_CHUNKS_MAX },
          HOLDINGS_MS,
          (outcome) => {
            if (!outcome.ok) return answered(outcome)
            const answer = outcome.value
            if (answer.kind === 'unknown') return answered(ok(undefined))
            content += answer.content
            count.held += answer.held
            count.frameBytes += answer.frameBytes
            if (answer.count === HOLDINGS_CHUNKS_MAX && from + answer.count < answer.total)
              return ask(from + answer.count)
            most = Math.max(most, content)
            answered(ok(count.held === 0 ? undefined : { ...candidate, knows: true, ...count }))
          },
        )
      ask(0)
    },
    (surveyed) => done({ ...surveyed, content: most }),
  )
}

function gather(
  terms: Pick<SurveyTerms, 'clock' | 'withinMs'>,
  candidates: readonly Candidate[],
  ask: (candidate: Candidate, answered: Done<Holder | undefined>) => void,
  done: (surveyed: Surveyed) => void,
): void {
  const answers = new Map<PeerId, Outcome<Holder | undefined>>()
  let told = false
  const tell = (): void => {
    if (told) return
    told = true
    timer.cancel()
    const failedWith = (is: (failure: Failure | undefined) => boolean): PeerId[] =>
      candidates.flatMap(({ peer }) => {
        const answer = answers.get(peer)
        return answer?.ok !== true && is(answer?.failure) ? [peer] : []
      })
    done({
      holders: candidates.flatMap(({ peer }) => {
        const answer = answers.get(peer)
        return answer?.ok === true && answer.value !== undefined ? [answer.value] : []
      }),
      silent: failedWith((failure) => failure?.code !== 'UNSUPPORTED'),
      unable: failedWith((failure) => failure?.code === 'UNSUPPORTED'),
    })
  }
  const timer = terms.clock.after(candidates.length === 0 ? 0 : terms.withinMs, tell)
  for (const candidate of candidates)
    ask(candidate, (outcome) => {
      answers.set(candidate.peer, outcome)
      if (answers.size === candidates.length) tell()
    })
}

/** Undefined for a peer that holds none of it. */
function askOne(
  terms: SurveyTerms,
  missing: Missing,
  candidate: Candidate,
  done: Done<Holder | undefined>,
): void {
  const { manifest } = missing
  const count: Count = { have: new Uint8Array(missing.bits.length), held: 0, frameBytes: 0 }
  const told = (knows: boolean): void =>
    done(ok(count.held === 0 ? undefined : { ...candidate, knows, ...count }))
  eachSection(missing, (section, next) => {
    if (section === undefined) return told(true)
    askImage(
      terms.transport,
      candidate.peer,
      { image: manifest.image, ...section },
      HOLDINGS_MS,
      (outcome) => {
        if (!outcome.ok) return done(outcome)
        const answer = outcome.value
        if (answer.kind === 'unknown')
          return askByName(terms, missing, candidate.peer, count, (named) =>
            named.ok ? told(false) : done(named),
          )
        const bits = decodeSection({ from: section.from, ...answer })
        for (let at = 0; at < answer.count; at++) if (isSet(bits, at)) set(count.have, section.from + at)
        count.held += answer.held
        count.frameBytes += answer.frameBytes
        next()
      },
    )
  })
}

type Section = {
  readonly from: number
  readonly count: number
  readonly need: { readonly form: 'bits' | 'runs'; readonly data: Uint8Array }
}

/** Calls `ask` with each section in which something is missing, then with undefined; the next once `next` is called. */
function eachSection(
  { manifest, bits }: Missing,
  ask: (section: Section | undefined, next: () => void) => void,
): void {
  const total = chunkCount(manifest)
  const go = (start: number): void => {
    for (let from = start; from < total; from += HOLDINGS_CHUNKS_MAX) {
      const count = Math.min(HOLDINGS_CHUNKS_MAX, total - from)
      const wanted = Array.from({ length: count }, (_, at) => isSet(bits, from + at))
      if (!wanted.includes(true)) continue
      const { form, data } = encodeSection(from, wanted)
      return ask({ from, count, need: { form, data } }, () => go(from + HOLDINGS_CHUNKS_MAX))
    }
    ask(undefined, () => {})
  }
  go(0)
}

/** A sample first; then all of it that a list would name, as many as a sample has at a time. */
function askByName(
  { transport, dice, exact }: SurveyTerms,
  { manifest, needed }: Missing,
  peer: PeerId,
  count: Count,
  done: Done<void>,
): void {
  const ask = (indexes: readonly number[], then: (hits: number) => void): void => {
    const { sample, indexes: asked } = sampleOf((index) => readableChunkAt(manifest, index), indexes, dice)
    askChunks(transport, peer, sample, HOLDINGS_MS, (outcome) => {
      if (!outcome.ok) return done(outcome)
      const { data, frameBytes } = outcome.value
      let hits = 0
      asked.forEach((index, at) => {
        if (!isSet(data, at) || isSet(count.have, index)) return
        set(count.have, index)
        hits++
      })
      count.held += hits
      if (hits > 0) count.frameBytes += frameBytes
      then(hits)
    })
  }
  const all = (from: number): void => {
    if (from >= Math.min(needed.length, LISTED_CHUNKS_MAX)) return done(ok(undefined))
    ask(needed.slice(from, from + HOLDINGS_SAMPLE_MAX), () => all(from + HOLDINGS_SAMPLE_MAX))
  }
  ask(needed, (hits) => {
    if (hits === 0) return done(ok(undefined))
    if (!exact) {
      const scale = Math.max(1, needed.length / HOLDINGS_SAMPLE_MAX)
      count.held = Math.round(count.held * scale)
      count.frameBytes = Math.round(count.frameBytes * scale)
      return done(ok(undefined))
    }
    // Asked anew in order, so that each is counted once.
    Object.assign(count, { have: new Uint8Array(count.have.length), held: 0, frameBytes: 0 })
    all(0)
  })
}
