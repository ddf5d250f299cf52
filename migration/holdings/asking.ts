/** The asking end of holdings: what a peer holds of an image, and which of a sample of chunks. */
import { failureOf } from '../../protocols/errors.ts'
import type { ChunkId, ImageId, PeerId } from '../../protocols/ids.ts'
import { HOLDINGS_SAMPLE_MAX } from '../../protocols/limits.ts'
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import {
  type HoldingsAnswer,
  holdingsAnswer,
  type HoldingsAsk,
  holdingsAsk,
  PROTOCOL,
} from '../../protocols/swarm/holdings-messages.ts'
import type { Transport } from '../../protocols/transport.ts'
import { HASH_BYTES } from '../../storage/images/manifest.ts'

type Asks = Pick<Transport, 'request'>
export type ImageAnswer = Extract<HoldingsAnswer, { kind: 'image' | 'unknown' }>
export type ChunksAnswer = Extract<HoldingsAnswer, { kind: 'chunks' }>

/** UNSUPPORTED from a peer of a version that does not know the question. */
export function askImage(
  transport: Asks,
  peer: PeerId,
  about: {
    readonly image: ImageId
    readonly from: number
    readonly count: number
    readonly need?: { readonly form: 'bits' | 'runs'; readonly data: Uint8Array }
  },
  timeoutMs: number,
  done: Done<ImageAnswer>,
): void {
  request(transport, peer, { kind: 'image', ...about }, timeoutMs, (outcome) => {
    if (!outcome.ok) return done(outcome)
    const answer = outcome.value
    if (answer.kind === 'chunks' || (answer.kind === 'image' && answer.count > about.count))
      return done(failed(wrong))
    done(ok(answer))
  })
}

/** `hashes`: 32 bytes each, HOLDINGS_SAMPLE_MAX at most. */
export function askChunks(
  transport: Asks,
  peer: PeerId,
  hashes: Uint8Array,
  timeoutMs: number,
  done: Done<ChunksAnswer>,
): void {
  request(transport, peer, { kind: 'chunks', ids: hashes }, timeoutMs, (outcome) => {
    if (!outcome.ok) return done(outcome)
    const answer = outcome.value
    if (answer.kind !== 'chunks' || answer.data.length !== Math.ceil(hashes.length / HASH_BYTES / 8))
      return done(failed(wrong))
    done(ok(answer))
  })
}

/**
 * The hashes of some of these chunks: all of them while they are few, else one from each stretch of equal length; less those
 * that have no name.
 */
export function sampleOf(
  idAt: (index: number) => ChunkId | undefined,
  indexes: readonly number[],
  dice: () => number,
  most = HOLDINGS_SAMPLE_MAX,
): { readonly sample: Uint8Array; readonly indexes: readonly number[] } {
  const step = Math.max(1, indexes.length / most)
  const taken: number[] = []
  for (let at = 0; at < Math.min(most, indexes.length); at++) {
    const place = step === 1 ? at : Math.floor((at + dice()) * step)
    taken.push(indexes[Math.min(place, indexes.length - 1)] as number)
  }
  const named = taken.flatMap((index) => {
    const id = idAt(index)
    return id === undefined ? [] : [{ index, id }]
  })
  return {
    sample: Buffer.from(named.map(({ id }) => id).join(''), 'hex'),
    indexes: named.map(({ index }) => index),
  }
}

const wrong = { code: 'FRAME_INVALID', at: 'holdings-answer', expected: 'what was asked for' } as const

function request(
  transport: Asks,
  peer: PeerId,
  asked: HoldingsAsk,
  timeoutMs: number,
  done: Done<HoldingsAnswer>,
): void {
  transport.request(peer, PROTOCOL, holdingsAsk.encode(asked), timeoutMs, (outcome) => {
    if (!outcome.ok) return done(outcome)
    let answer: HoldingsAnswer
    try {
      answer = holdingsAnswer.decode(outcome.value)
    } catch (error) {
      return done(failed(failureOf(error)))
    }
    done(ok(answer))
  })
}
