/**
 * The handshake of a reading NBD client, fixed newstyle, as a core: server bytes in, options out.
 *
 *   greeting ─▶ STRUCTURED_REPLY ─▶ SET_META_CONTEXT ─▶ GO ─▶ agreed
 *                     └─ refused: simple replies, no contexts ─┘
 *
 * Contexts that a server does not have are left out of what is agreed: whoever cannot do without says so. Every answer is
 * checked against what was asked, and is of at most ANSWER_BYTES_MAX, ANSWERS_MAX of them to an option.
 */
import { IMAGE_BYTES_MAX } from '../../protocols/limits.ts'
import {
  counted,
  FLAG_FIXED_NEWSTYLE,
  FLAG_NO_ZEROES,
  GREETING,
  GREETING_BYTES,
  INFO,
  nbdFault,
  OPTION,
  OPTION_REPLY_BYTES,
  OPTION_REPLY_MAGIC,
  optionFrame,
  type Parser,
  REPLY,
  REPLY_ERROR,
  u16,
  u32,
} from './wire.ts'

export type Wanted = {
  /** For people: where the export is. */
  readonly at: string
  /** Empty for a server's only export. */
  readonly name: string
  readonly contexts: readonly string[]
}

export type Agreed = {
  /** Size of the disk. */
  readonly bytes: number
  /** READs are answered in chunks that name their place, not by one run of bytes. */
  readonly structured: boolean
  /** Metadata contexts by the number that replies name them with. */
  readonly contexts: ReadonlyMap<number, string>
  /** Reads begin and end at multiples of this. */
  readonly blockBytes: number
  /** Longest READ. */
  readonly readBytesMax: number
}

/** Names and descriptions are at most 4,096 bytes long by the protocol; what frames them is less than 64. */
const ANSWER_BYTES_MAX = 4_096 + 64
/** A server may send infos and contexts that nobody asked for; more than this are a fault. */
const ANSWERS_MAX = 64
/** What a server takes in one READ that does not say what it takes. */
const READ_BYTES_MAX = 32 * 1024 * 1024
/** Reads are cut at multiples of the smallest chunk of an image. */
const BLOCK_BYTES_MAX = 4_096

type Answer = { readonly kind: number; readonly data: Buffer }

/** `send` takes what the server is to be told, in order, at once. */
export function* negotiate(wanted: Wanted, send: (bytes: Uint8Array) => void): Parser<Agreed> {
  const greeting = Buffer.alloc(GREETING_BYTES)
  yield greeting
  if (!greeting.subarray(0, GREETING.length).equals(GREETING))
    throw nbdFault(wanted.at, 'this is no server of the newstyle')
  const flags = greeting.readUInt16BE(GREETING.length)
  if ((flags & FLAG_FIXED_NEWSTYLE) === 0) throw nbdFault(wanted.at, 'it does not speak fixed newstyle')
  send(u32(FLAG_FIXED_NEWSTYLE | (flags & FLAG_NO_ZEROES)))

  const structured = yield* structuredReplies(wanted, send)
  const contexts = structured && wanted.contexts.length > 0 ? yield* metaContexts(wanted, send) : new Map()
  return { structured, contexts, ...(yield* go(wanted, send)) }
}

function* structuredReplies(wanted: Wanted, send: (bytes: Uint8Array) => void): Parser<boolean> {
  send(optionFrame(OPTION.STRUCTURED_REPLY, Buffer.alloc(0)))
  const { kind } = yield* answer(wanted, OPTION.STRUCTURED_REPLY)
  if (kind === REPLY.ACK) return true
  if (kind >= REPLY_ERROR) return false
  throw nbdFault(wanted.at, `structured replies: an answer of type ${kind}`)
}

function* metaContexts(wanted: Wanted, send: (bytes: Uint8Array) => void): Parser<Map<number, string>> {
  const { at, name, contexts } = wanted
  const queries = contexts.map(counted)
  send(optionFrame(OPTION.SET_META_CONTEXT, Buffer.concat([counted(name), u32(queries.length), ...queries])))
  const agreed = new Map<number, string>()
  for (let answers = 0; answers < ANSWERS_MAX; answers++) {
    const { kind, data } = yield* answer(wanted, OPTION.SET_META_CONTEXT)
    if (kind === REPLY.ACK) return agreed
    // No contexts at all is an answer, too: what depends on them says so.
    if (kind >= REPLY_ERROR) return new Map()
    if (kind !== REPLY.META_CONTEXT || data.length < 5)
      throw nbdFault(at, `contexts: an answer of type ${kind}`)
    const id = data.readUInt32BE(0)
    const context = data.toString('utf8', 4)
    if (!contexts.includes(context)) throw nbdFault(at, 'a context that nobody asked for')
    if (agreed.has(id) || [...agreed.values()].includes(context)) throw nbdFault(at, 'a context twice')
    agreed.set(id, context)
  }
  throw nbdFault(at, 'contexts without end')
}

function* go(
  wanted: Wanted,
  send: (bytes: Uint8Array) => void,
): Parser<Pick<Agreed, 'bytes' | 'blockBytes' | 'readBytesMax'>> {
  const { at, name } = wanted
  send(optionFrame(OPTION.GO, Buffer.concat([counted(name), u16(1), u16(INFO.BLOCK_SIZE)])))
  let bytes: number | undefined
  let blockBytes = 1
  let readBytesMax = READ_BYTES_MAX
  for (let answers = 0; answers < ANSWERS_MAX; answers++) {
    const { kind, data } = yield* answer(wanted, OPTION.GO)
    if (kind >= REPLY_ERROR) throw nbdFault(at, refusal(kind, data))
    if (kind === REPLY.ACK) {
      if (bytes === undefined) throw nbdFault(at, 'an export without a size')
      if (bytes % blockBytes !== 0) throw nbdFault(at, 'its size is no multiple of its blocks')
      return { bytes, blockBytes, readBytesMax }
    }
    if (kind !== REPLY.INFO || data.length < 2) throw nbdFault(at, `an answer of type ${kind}`)
    const info = data.readUInt16BE(0)
    if (info === INFO.EXPORT) bytes = sizeOf(at, data)
    if (info === INFO.BLOCK_SIZE) ({ blockBytes, readBytesMax } = blocksOf(at, data))
  }
  throw nbdFault(at, 'answers without end')
}

function sizeOf(at: string, data: Buffer): number {
  if (data.length !== 12) throw nbdFault(at, 'a size that is none')
  const bytes = data.readBigUInt64BE(2)
  if (bytes > BigInt(IMAGE_BYTES_MAX)) throw nbdFault(at, `a disk of ${bytes} bytes, over ${IMAGE_BYTES_MAX}`)
  return Number(bytes)
}

function blocksOf(at: string, data: Buffer): Pick<Agreed, 'blockBytes' | 'readBytesMax'> {
  if (data.length !== 14) throw nbdFault(at, 'sizes of blocks that are none')
  const blockBytes = data.readUInt32BE(2)
  const readBytesMax = Math.min(READ_BYTES_MAX, data.readUInt32BE(10))
  if (blockBytes < 1 || blockBytes > BLOCK_BYTES_MAX || !Number.isInteger(Math.log2(blockBytes)))
    throw nbdFault(at, `its blocks have ${blockBytes} bytes, not a power of two up to ${BLOCK_BYTES_MAX}`)
  if (readBytesMax < BLOCK_BYTES_MAX || readBytesMax % blockBytes !== 0)
    throw nbdFault(at, `it takes reads of up to ${readBytesMax} bytes, in blocks of ${blockBytes}`)
  return { blockBytes, readBytesMax }
}

function* answer({ at }: Wanted, option: number): Parser<Answer> {
  const head = Buffer.alloc(OPTION_REPLY_BYTES)
  yield head
  if (head.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC) throw nbdFault(at, 'a garbled answer to an option')
  if (head.readUInt32BE(8) !== option) throw nbdFault(at, 'an answer to an option that was not asked')
  const length = head.readUInt32BE(16)
  if (length > ANSWER_BYTES_MAX) throw nbdFault(at, `an answer of ${length} bytes`)
  const data = Buffer.alloc(length)
  yield data
  return { kind: head.readUInt32BE(12), data }
}

/** NBD_REP_ERR_* and what they mean; a server adds words of its own. */
const REFUSALS: Readonly<Record<number, string>> = {
  1: 'it does not know NBD_OPT_GO',
  2: 'its policy forbids it',
  3: 'it calls the request invalid',
  4: 'its platform does not support it',
  5: 'it wants TLS',
  6: 'there is no such export',
  7: 'it is shutting down',
  8: 'it wants its blocks to be kept to',
  9: 'it calls the request too large',
}

function refusal(kind: number, data: Buffer): string {
  const words = data.toString('utf8').replaceAll(/[^\x20-\x7e]/g, '?')
  return `${REFUSALS[kind - REPLY_ERROR] ?? `refused (${kind - REPLY_ERROR})`}${words === '' ? '' : `: ${words}`}`
}
