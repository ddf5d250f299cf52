/**
 * What an NBD server answers in transmission, as a core: simple and structured replies to READ and BLOCK_STATUS, in any
 * order, each checked against its request.
 *
 * Invariants: content goes straight into the buffer of whoever asked for it, and is complete and told once when the read
 * succeeds; no byte is taken for a request that is not under way; what a server sends beyond what was asked, twice, in
 * pieces without number or of a length that nobody asked for ends the connection, and costs STATUS_BYTES_MAX at most.
 */
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import type { Agreed } from './negotiation.ts'
import { CHUNK, CHUNK_DONE, CHUNK_MAGIC, nbdFault, type Parser, SIMPLE_REPLY_MAGIC } from './wire.ts'

/** A part of the disk that is all of one state. */
export type Run = { readonly length: number; readonly flags: number }

type Reading = {
  readonly kind: 'read'
  readonly position: number
  /** Filled by the answer; whoever asked leaves it alone until `done`. */
  readonly into: Uint8Array
  readonly done: Done<void>
}
type Asking = {
  readonly kind: 'status'
  readonly position: number
  readonly length: number
  /** By context, from `position` on; each may tell less than was asked for, and at least one run. */
  readonly done: Done<ReadonlyMap<string, readonly Run[]>>
}
export type Request = Reading | Asking

/** A request under way, and what has come for it. */
type Pending = {
  readonly request: Request
  /** Parts of a read that are here: ascending, apart from each other. */
  readonly covered: { start: number; end: number }[]
  readonly runs: Map<string, readonly Run[]>
  fault: string | undefined
}

export type Transmission = {
  /** For people: where the export is. */
  readonly at: string
  readonly agreed: Pick<Agreed, 'structured' | 'contexts'>
  /** By cookie. */
  readonly pending: Map<bigint, Pending>
}

/** 128 Ki runs of one context, QEMU's own bound, and the number of the context. */
const STATUS_BYTES_MAX = 4 + 8 * 128 * 1024
/** Gaps that the pieces of one read may leave until all are here: servers send them in order, or nearly. */
const PIECES_MAX = 1_024
/** A message beside an error, which the protocol bounds. */
const WORDS_BYTES_MAX = 4_096

export const admit = (pending: Transmission['pending'], cookie: bigint, request: Request): void =>
  void pending.set(cookie, { request, covered: [], runs: new Map(), fault: undefined })

/** Never returns: the stream ends by a fault, or by the connection's end. */
export function* replies(transmission: Transmission): Parser<never> {
  const { at } = transmission
  const magic = Buffer.alloc(4)
  for (;;) {
    yield magic
    const kind = magic.readUInt32BE(0)
    if (kind === SIMPLE_REPLY_MAGIC) yield* simple(transmission)
    else if (kind === CHUNK_MAGIC && transmission.agreed.structured) yield* chunk(transmission)
    else throw nbdFault(at, `a reply that begins with ${kind.toString(16)}`)
  }
}

function* simple(transmission: Transmission): Parser<void> {
  const head = Buffer.alloc(12)
  yield head
  const error = head.readUInt32BE(0)
  const cookie = head.readBigUInt64BE(4)
  const pending = underWay(transmission, cookie)
  const { request } = pending
  // With structured replies agreed on, a READ has no other; a BLOCK_STATUS never succeeds by a simple one.
  if (request.kind === 'read' ? transmission.agreed.structured : error === 0)
    throw nbdFault(transmission.at, 'a simple reply where a structured one must be')
  if (error !== 0) pending.fault = `error ${error}`
  else if (request.kind === 'read') {
    yield request.into
    pending.covered.push({ start: 0, end: request.into.length })
  }
  settle(transmission, cookie, pending)
}

function* chunk(transmission: Transmission): Parser<void> {
  const { at } = transmission
  const head = Buffer.alloc(16)
  yield head
  const flags = head.readUInt16BE(0)
  const kind = head.readUInt16BE(2)
  const cookie = head.readBigUInt64BE(4)
  const length = head.readUInt32BE(12)
  const pending = underWay(transmission, cookie)
  const isLast = (flags & CHUNK_DONE) !== 0
  switch (kind) {
    case CHUNK.NONE:
      if (length !== 0 || !isLast) throw nbdFault(at, 'a chunk of nothing that is not the last')
      break
    case CHUNK.OFFSET_DATA:
      yield* data(transmission, pending, length)
      break
    case CHUNK.OFFSET_HOLE:
      yield* hole(transmission, pending, length)
      break
    case CHUNK.BLOCK_STATUS:
      yield* status(transmission, pending, length)
      break
    default:
      // Types of errors that we do not know have the same beginning.
      if (kind < CHUNK.ERROR) throw nbdFault(at, `a chunk of type ${kind}`)
      yield* refusal(transmission, pending, length)
  }
  if (isLast) settle(transmission, cookie, pending)
}

function* data(transmission: Transmission, pending: Pending, length: number): Parser<void> {
  const { at } = transmission
  const { request } = pending
  if (request.kind !== 'read' || length <= 8) throw nbdFault(at, 'content that nobody asked for')
  const offset = Buffer.alloc(8)
  yield offset
  const start = cover(at, pending, offset.readBigUInt64BE(0) - BigInt(request.position), length - 8)
  yield request.into.subarray(start, start + length - 8)
}

function* hole(transmission: Transmission, pending: Pending, length: number): Parser<void> {
  const { at } = transmission
  const { request } = pending
  if (request.kind !== 'read' || length !== 12) throw nbdFault(at, 'a hole that nobody asked for')
  const place = Buffer.alloc(12)
  yield place
  const bytes = place.readUInt32BE(8)
  const start = cover(at, pending, place.readBigUInt64BE(0) - BigInt(request.position), bytes)
  request.into.fill(0, start, start + bytes)
}

/** Notes a piece of a read; returns where in its buffer it belongs. */
function cover(at: string, { request, covered }: Pending, offset: bigint, length: number): number {
  const room = request.kind === 'read' ? request.into.length : 0
  if (length === 0 || offset < 0n || offset + BigInt(length) > BigInt(room))
    throw nbdFault(at, 'content outside of what was asked for')
  const [start, end] = [Number(offset), Number(offset) + length]
  // From the end: servers send pieces in order.
  let after = covered.length
  while (after > 0 && (covered[after - 1] as { start: number }).start >= end) after--
  const before = covered[after - 1]
  if (before !== undefined && before.end > start) throw nbdFault(at, 'content twice')
  const next = covered[after]
  if (before?.end === start) {
    before.end = end
    if (next?.start === end) {
      before.end = next.end
      covered.splice(after, 1)
    }
  } else if (next?.start === end) next.start = start
  else covered.splice(after, 0, { start, end })
  if (covered.length > PIECES_MAX) throw nbdFault(at, 'content in too many pieces')
  return start
}

function* status(transmission: Transmission, pending: Pending, length: number): Parser<void> {
  const { at, agreed } = transmission
  const { request } = pending
  if (request.kind !== 'status') throw nbdFault(at, 'a status that nobody asked for')
  if (length < 12 || length > STATUS_BYTES_MAX || length % 8 !== 4)
    throw nbdFault(at, `a status of ${length} bytes`)
  const payload = Buffer.alloc(length)
  yield payload
  const context = agreed.contexts.get(payload.readUInt32BE(0))
  if (context === undefined || pending.runs.has(context))
    throw nbdFault(at, 'a status in a context that was not agreed on, or twice')
  const runs: Run[] = []
  let told = 0
  for (let byte = 4; byte < length; byte += 8) {
    const run = { length: payload.readUInt32BE(byte), flags: payload.readUInt32BE(byte + 4) }
    // The last one may go on past what was asked for, and no other.
    if (run.length === 0 || told >= request.length)
      throw nbdFault(at, 'a status outside of what was asked for')
    runs.push({ ...run, length: Math.min(run.length, request.length - told) })
    told += run.length
  }
  pending.runs.set(context, runs)
}

function* refusal(transmission: Transmission, pending: Pending, length: number): Parser<void> {
  if (length < 6 || length > WORDS_BYTES_MAX + 14)
    throw nbdFault(transmission.at, `an error of ${length} bytes`)
  const payload = Buffer.alloc(length)
  yield payload
  const error = payload.readUInt32BE(0)
  const end = 6 + payload.readUInt16BE(4)
  if (error === 0 || end > length) throw nbdFault(transmission.at, 'an error that is none')
  const words = payload.toString('utf8', 6, end).replaceAll(/[^\x20-\x7e]/g, '?')
  pending.fault ??= `error ${error}${words === '' ? '' : `: ${words}`}`
}

function underWay({ at, pending }: Transmission, cookie: bigint): Pending {
  const found = pending.get(cookie)
  if (found === undefined) throw nbdFault(at, 'an answer to nothing')
  return found
}

/** The last chunk is here: either all that was asked for is, or the server has said why not. */
function settle(
  transmission: Transmission,
  cookie: bigint,
  { request, covered, runs, fault }: Pending,
): void {
  const { at, agreed, pending } = transmission
  if (fault === undefined && request.kind === 'read') {
    const [all] = covered
    if (covered.length !== 1 || all?.start !== 0 || all.end !== request.into.length)
      throw nbdFault(at, 'an answer that is not whole')
  }
  if (fault === undefined && request.kind === 'status' && runs.size !== agreed.contexts.size)
    throw nbdFault(at, 'a status that lacks a context')
  pending.delete(cookie)
  if (fault !== undefined) return request.done(failed(nbdFault(at, fault).failure))
  if (request.kind === 'read') request.done(ok(undefined))
  else request.done(ok(runs))
}
