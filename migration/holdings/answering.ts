/** Answers what others ask about holdings (protocols/swarm/holdings-messages.ts): look-ups in the index, no frame is read. */
import type { Clock } from '../../protocols/clock.ts'
import type { ChunkId } from '../../protocols/ids.ts'
import { HOLDINGS_IN_HAND_MAX } from '../../protocols/limits.ts'
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import { decodeSection, encodeSection, isSet, set } from '../../protocols/swarm/have-map.ts'
import {
  type HoldingsAnswer,
  holdingsAnswer,
  type HoldingsAsk,
  holdingsAsk,
  PROTOCOL,
} from '../../protocols/swarm/holdings-messages.ts'
import type { Transport } from '../../protocols/transport.ts'
import type { ChunkStore, ManifestStore } from '../../storage/images/chunk-store.ts'
import {
  chunkCount,
  chunkLength,
  HASH_BYTES,
  type Manifest,
  readableChunkAt,
} from '../../storage/images/manifest.ts'
import { type Allowance, allow } from './allowance.ts'

/** Ids asked of the store at once. */
const ASK_IDS = 4_096

export type HoldingsPorts = {
  readonly transport: Transport
  readonly chunks: Pick<ChunkStore, 'sizes'>
  readonly manifests: Pick<ManifestStore, 'get'>
  readonly clock: Clock
}

export function answerHoldings({ transport, chunks, manifests, clock }: HoldingsPorts): void {
  const allowance: Allowance = new Map()
  let inHand = 0
  transport.serve(PROTOCOL, {
    request(from, frame, reply) {
      const asked = holdingsAsk.decode(frame)
      const about = asked.kind === 'image' ? asked.count : asked.ids.length / HASH_BYTES
      if (inHand >= HOLDINGS_IN_HAND_MAX || !allow(allowance, from, about, clock.nowMs()))
        return reply(failed({ code: 'PEER_BUSY', peer: transport.self, what: 'questions about holdings' }))
      inHand++
      const answer: Done<HoldingsAnswer> = (outcome) => {
        inHand--
        reply(outcome.ok ? ok(holdingsAnswer.encode(outcome.value)) : outcome)
      }
      if (asked.kind === 'chunks') return ofChunks(asked.ids, chunks, answer)
      manifests.get(asked.image, (outcome) => {
        if (outcome.ok) ofImage(outcome.value, asked, chunks, answer)
        else answer(outcome.failure.code === 'NOT_FOUND' ? ok({ kind: 'unknown' }) : outcome)
      })
    },
  })
}

function ofChunks(ids: Uint8Array, chunks: HoldingsPorts['chunks'], done: Done<HoldingsAnswer>): void {
  const names: ChunkId[] = []
  for (let at = 0; at + HASH_BYTES <= ids.length; at += HASH_BYTES)
    names.push(Buffer.from(ids.subarray(at, at + HASH_BYTES)).toString('hex'))
  chunks.sizes(names, (outcome) => {
    if (!outcome.ok) return done(outcome)
    const data = new Uint8Array(Math.ceil(names.length / 8))
    let frameBytes = 0
    outcome.value.forEach((bytes, at) => {
      frameBytes += bytes
      if (bytes > 0) set(data, at)
    })
    done(ok({ kind: 'chunks', data, frameBytes }))
  })
}

/** A few thousand look-ups at a time, so that nobody waits long for a thread behind them. */
function ofImage(
  manifest: Manifest,
  { from, count: most, need }: Extract<HoldingsAsk, { kind: 'image' }>,
  chunks: HoldingsPorts['chunks'],
  done: Done<HoldingsAnswer>,
): void {
  const total = chunkCount(manifest)
  const count = Math.max(0, Math.min(most, total - from))
  const wanted = need === undefined ? undefined : decodeSection({ from, count: most, ...need })
  const held: boolean[] = []
  const sum = { content: 0, held: 0, heldBytes: 0, frameBytes: 0 }
  const ask = (at: number): void => {
    if (at >= count) {
      const { form, data } = encodeSection(from, held)
      return done(ok({ kind: 'image', total, bytes: manifest.bytes, ...sum, count, form, data }))
    }
    const ids: ChunkId[] = []
    const places: number[] = []
    const end = Math.min(count, at + ASK_IDS)
    for (let place = at; place < end; place++) {
      held.push(false)
      const id =
        wanted === undefined || isSet(wanted, place) ? readableChunkAt(manifest, from + place) : undefined
      if (id === undefined) continue
      ids.push(id)
      places.push(place)
    }
    sum.content += ids.length
    chunks.sizes(ids, (outcome) => {
      if (!outcome.ok) return done(outcome)
      outcome.value.forEach((bytes, i) => {
        if (bytes === 0) return
        const place = places[i] as number
        held[place] = true
        sum.held++
        sum.heldBytes += chunkLength(manifest, from + place)
        sum.frameBytes += bytes
      })
      ask(end)
    })
  }
  ask(0)
}
