/**
 * What a downloader and a source say to each other over one long-lived channel about one image.
 *
 *   downloader                               source
 *   hello {image, manifest?}   ────────▶
 *                              ◀────────     tree {bytes, chunkBytes, tops}       when the manifest is asked for and held
 *                              ◀────────     group {group, total, at, data} …
 *   groups {groups} …          ────────▶                                          those that follow
 *                              ◀────────     have {total, from, count, …} …       what it holds; then have-more
 *                              ◀────────     peers {peers}                        who else asks for it
 *   want {indexes} …           ────────▶
 *                              ◀────────     piece {index, at, total, data}       or lack {index}
 *   cancel {indexes}           ────────▶
 *
 * A source that holds all of an image and shows it piece by piece (migration/swarm/super-seeding.ts) says `gains` in a map
 * that is empty, to a downloader that said it too. That one answers with a map of what it needs not, and with `have-more`
 * for what it gains, from anyone.
 *
 * A manifest goes by groups of hashes. With the tree, which its name proves, each group proves itself; so they come in any
 * order and from several sources, and what came before a cut is not asked for again. `hello` names the first one. A downloader
 * that names none is of the first version, and gets all of it as one stream: manifest {total, at, data}; a source of that version
 * sends it so whatever was named.
 *
 * A source that never saw the manifest answers `unknown`. It may still hold chunks, from other images: the downloader
 * names those it lacks with `list`, and from then on an index on this channel is a place in that list. 32 bytes a
 * chunk, LISTED_CHUNKS_MAX at most, so neither end is made to hold or send a whole manifest for a guess.
 *
 * Frames of chunks go as they lie on disk. They are most of what crosses, so they skip MessagePack and its copies:
 * a piece begins with 0xc1, the one byte that MessagePack never uses.
 */
import { codec } from '../codec.ts'
import { GodwitError } from '../errors.ts'
import { imageId } from '../ids.ts'
import {
  CHUNK_BYTES_MAX,
  CHUNK_BYTES_MIN,
  CHUNK_FRAME_SLACK,
  FRAME_BYTES_MAX,
  HAVE_SECTION_CHUNKS,
  IMAGE_BYTES_MAX,
  IMAGE_CHUNKS_MAX,
  INDEXES_MAX,
  LISTED_CHUNKS_MAX,
  MANIFEST_BYTES_MAX,
  MANIFEST_GROUP_BYTES_MAX,
  MANIFEST_GROUPS_AHEAD,
  MANIFEST_GROUPS_MAX,
  SOURCES_MAX,
  SWARM_PART_BYTES,
} from '../limits.ts'
import { boolean, bytes, integer, list, type Of, oneOf, optional, record, tagged, text } from '../shape.ts'
import { BLOCK_SHAPES } from './block-messages.ts'

export const PROTOCOL = '/godwit/swarm/1'

const index = integer(0, IMAGE_CHUNKS_MAX - 1)
const indexes = list(index, INDEXES_MAX)
const group = integer(0, MANIFEST_GROUPS_MAX - 1)
const LIST_BYTES_MAX = LISTED_CHUNKS_MAX * 32
const FRAME_MAX = CHUNK_BYTES_MAX + CHUNK_FRAME_SLACK

const shape = tagged({
  ...BLOCK_SHAPES,
  /**
   * Downloader → source: first, and again to ask for the manifest later. `gains`: it can say what it gains. `blocks`: it
   * speaks of blocks (block-messages.ts). `group`: it takes the manifest by groups, this one first.
   */
  hello: record({
    image: imageId,
    manifest: boolean,
    gains: optional(boolean),
    blocks: optional(boolean),
    group: optional(group),
  }),
  /** Source → downloader: the manifest is not held here; name chunks. */
  unknown: record({}),
  /** Source → downloader of the first version: bytes [at, at + data) of the manifest as a stream, in order. */
  manifest: record({
    total: integer(1, MANIFEST_BYTES_MAX),
    at: integer(0, MANIFEST_BYTES_MAX),
    data: bytes(SWARM_PART_BYTES, 1),
  }),
  /** Source → downloader: size and tops of the manifest (storage/images/merkle.ts). */
  tree: record({
    bytes: integer(1, IMAGE_BYTES_MAX),
    chunkBytes: integer(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX),
    tops: bytes(MANIFEST_GROUPS_MAX * 32, 32),
  }),
  /** Downloader → source, after the tree: groups to send too. */
  groups: record({ groups: list(group, MANIFEST_GROUPS_AHEAD) }),
  /** Source → downloader: bytes [at, at + data) of a group's runs (storage/images/manifest-form.ts), in order. */
  group: record({
    group,
    total: integer(1, MANIFEST_GROUP_BYTES_MAX),
    at: integer(0, MANIFEST_GROUP_BYTES_MAX),
    data: bytes(SWARM_PART_BYTES, 1),
  }),
  /** Downloader → source: bytes [at, at + data) of the ids of chunks, 32 bytes each, in order. */
  list: record({
    total: integer(32, LIST_BYTES_MAX),
    at: integer(0, LIST_BYTES_MAX),
    data: bytes(SWARM_PART_BYTES, 1),
  }),
  /**
   * Source → downloader: which of the chunks [from, from + count) of `total` are held (have-map.ts). `gains`: more are than
   * is said, and will be said as they are needed. Downloader → source, after that: which are not needed.
   */
  have: record({
    total: integer(1, IMAGE_CHUNKS_MAX),
    from: index,
    count: integer(1, HAVE_SECTION_CHUNKS),
    form: oneOf('bits', 'runs'),
    data: bytes(HAVE_SECTION_CHUNKS / 8),
    gains: optional(boolean),
  }),
  /** Source → downloader, and back where that was asked for: chunks gained since. */
  'have-more': record({ indexes }),
  /** Source → downloader: others that asked it for this image, and so are sources of it, or soon will be. */
  peers: record({ peers: list(text(64), SOURCES_MAX) }),
  want: record({ indexes }),
  /** Source → downloader: it is not held after all, or its disk has changed it. */
  lack: record({ index }),
  cancel: record({ indexes }),
  /** Either way, before closing: no more of this. */
  bye: record({ why: text(100) }),
})

export type Message = Of<typeof shape>
const message = codec('swarm', shape, FRAME_BYTES_MAX)

/** Bytes [at, at + data) of the stored frame of chunk `index`; parts of one frame follow each other. */
export type Piece = {
  readonly kind: 'piece'
  readonly index: number
  readonly at: number
  readonly total: number
  readonly data: Uint8Array
}

const PIECE = 0xc1
const HEAD_BYTES = 13
/** A frame of a 256 KiB chunk goes in one piece, one of a 4 MiB chunk in five. */
export const PIECE_BYTES_MAX = FRAME_BYTES_MAX - HEAD_BYTES

export function encode(said: Message | Piece): Uint8Array {
  return said.kind === 'piece' ? Buffer.concat([pieceHead(said), said.data]) : message.encode(said)
}

/** A piece up to its data, which goes after it as it is. */
export function pieceHead({ index, at, total }: Omit<Piece, 'kind' | 'data'>): Uint8Array {
  const head = Buffer.allocUnsafe(HEAD_BYTES)
  head[0] = PIECE
  head.writeUInt32BE(index, 1)
  head.writeUInt32BE(at, 5)
  head.writeUInt32BE(total, 9)
  return head
}

/**
 * The data of a piece is a view into `frame`; that of other messages is a copy.
 *
 * @throws GodwitError FRAME_TOO_LARGE or FRAME_INVALID, and nothing else, whatever the peer sent.
 */
export function decode(frame: Uint8Array): Message | Piece {
  if (frame[0] !== PIECE) return message.decode(frame)
  if (frame.length > FRAME_BYTES_MAX)
    throw new GodwitError({ code: 'FRAME_TOO_LARGE', bytes: frame.length, bytesMax: FRAME_BYTES_MAX })
  const view = Buffer.from(frame.buffer, frame.byteOffset, frame.length)
  if (view.length <= HEAD_BYTES) return refuse('a head and data')
  const [index, at, total] = [view.readUInt32BE(1), view.readUInt32BE(5), view.readUInt32BE(9)]
  const data = frame.subarray(HEAD_BYTES)
  if (index >= IMAGE_CHUNKS_MAX) return refuse('the index of a chunk')
  if (total > FRAME_MAX || at + data.length > total) return refuse('a part of a frame')
  return { kind: 'piece', index, at, total, data }
}

const refuse = (expected: string): never => {
  throw new GodwitError({ code: 'FRAME_INVALID', at: 'swarm.piece', expected })
}

/** The same for what comes in parts: manifests, lists, frames. */
export function* parts(data: Uint8Array, partBytes: number): Generator<{ at: number; data: Uint8Array }> {
  for (let at = 0; at < data.length; at += partBytes) yield { at, data: data.subarray(at, at + partBytes) }
}

/** The same for what is made in pieces of any size. */
export function* gather(
  pieces: Iterable<Uint8Array>,
  partBytes: number,
): Generator<{ at: number; data: Uint8Array }> {
  let waiting: Uint8Array[] = []
  let bytes = 0
  let at = 0
  for (const piece of pieces) {
    waiting.push(piece)
    bytes += piece.length
    if (bytes < partBytes) continue
    const all = Buffer.concat(waiting)
    for (; bytes >= partBytes; bytes -= partBytes) {
      const from = all.length - bytes
      yield { at, data: all.subarray(from, from + partBytes) }
      at += partBytes
    }
    waiting = [all.subarray(all.length - bytes)]
  }
  if (bytes > 0) yield { at, data: Buffer.concat(waiting) }
}
