/**
 * A .torrent (BEP 3, version 1), read without trust and made. What is read is checked whole before anything of it is used:
 * sizes that fit each other and Godwit's bounds, names that are names. The info dictionary must be in bencoding's one form, since
 * its SHA-1 is the torrent's name, and every client has to find the same.
 */
import { hash } from 'node:crypto'
import { GodwitError } from '../../protocols/errors.ts'
import {
  CHUNK_BYTES,
  IMAGE_BYTES_MAX,
  TORRENT_FILES_MAX,
  TORRENT_PIECE_BYTES_MAX,
  TORRENT_PIECE_BYTES_MIN,
  TORRENT_PIECES_MAX,
  TORRENT_PIECES_WANTED,
  TRACKERS_MAX,
} from '../../protocols/limits.ts'
import { type Bencoded, type BencodedDictionary, decode, encode, isList } from './bencode.ts'

export type TorrentFile = {
  /** For people, and to choose by: its parts with / between them. Nothing is ever written under it. */
  readonly path: string
  readonly offset: number
  readonly bytes: number
}

export type Metainfo = {
  /** SHA-1 of the info dictionary, 40 hex digits. */
  readonly infoHash: string
  readonly name: string
  readonly bytes: number
  readonly pieceBytes: number
  /** 20 bytes for each piece. */
  readonly pieces: Uint8Array
  /** In the torrent's order; padding (BEP 47) is left out. */
  readonly files: readonly TorrentFile[]
  readonly private: boolean
  /** Those over HTTP and UDP; others are dropped. */
  readonly trackers: readonly string[]
  /** The info dictionary. */
  readonly info: Uint8Array
}

export const SHA1_BYTES = 20
const NAME_BYTES_MAX = 255
const PATH_PARTS_MAX = 32
const TRACKER = /^(https?|udp):\/\/[^\s]{1,1000}$/

export const pieceCount = ({ bytes, pieceBytes }: Pick<Metainfo, 'bytes' | 'pieceBytes'>): number =>
  Math.ceil(bytes / pieceBytes)

/** @throws GodwitError IMAGE_INVALID of `what`, and nothing else, whatever the bytes are. */
export function parseMetainfo(torrent: Uint8Array, what = 'the torrent'): Metainfo {
  const fail: Fail = (why) => {
    throw new GodwitError({ code: 'IMAGE_INVALID', path: what, why })
  }
  const top = decode(torrent, what)
  if (!isDictionary(top)) return fail('it is no .torrent: it has no dictionary')
  const info = top['info']
  if (info === undefined || !isDictionary(info)) return fail('it is no .torrent: it has no info')
  const encoded = encode(info)
  // The dictionary is found again byte for byte, or its hash is not what others take for it.
  if (Buffer.from(torrent.buffer, torrent.byteOffset, torrent.length).indexOf(encoded) === -1)
    return fail('its info is not in the one form that bencoding has')
  const pieceBytes = info['piece length']
  const pieces = info['pieces']
  if (!(pieces instanceof Uint8Array))
    return fail(
      info['meta version'] === 2 ? 'it is of version 2 alone; version 1 is read' : 'it has no pieces',
    )
  if (!isWithin(pieceBytes, TORRENT_PIECE_BYTES_MIN, TORRENT_PIECE_BYTES_MAX))
    return fail(`its pieces are not of ${TORRENT_PIECE_BYTES_MIN}..${TORRENT_PIECE_BYTES_MAX} bytes`)
  const name = nameOf(info['name.utf-8'] ?? info['name'], fail)
  const { files, bytes } = filesOf(info, name, fail)
  const count = pieceCount({ bytes, pieceBytes })
  if (count > TORRENT_PIECES_MAX) return fail(`it has ${count} pieces, more than ${TORRENT_PIECES_MAX}`)
  if (pieces.length !== count * SHA1_BYTES) return fail('it has not one hash for each piece')
  return {
    infoHash: hash('sha1', encoded),
    name,
    bytes,
    pieceBytes,
    pieces,
    files,
    private: info['private'] === 1,
    trackers: trackersOf(top),
    info: encoded,
  }
}

type Fail = (why: string) => never

const isDictionary = (value: Bencoded): value is BencodedDictionary =>
  typeof value === 'object' && !isList(value) && !(value instanceof Uint8Array)

const isWithin = (value: Bencoded | undefined, min: number, max: number): value is number =>
  typeof value === 'number' && value >= min && value <= max

function filesOf(
  info: BencodedDictionary,
  name: string,
  fail: Fail,
): { files: TorrentFile[]; bytes: number } {
  const listed = info['files']
  if (listed === undefined) {
    const bytes = info['length']
    if (!isWithin(bytes, 1, IMAGE_BYTES_MAX)) return fail(`its size is not in 1..${IMAGE_BYTES_MAX} bytes`)
    return { files: [{ path: name, offset: 0, bytes }], bytes }
  }
  if (!isList(listed) || listed.length === 0) return fail('it has no files')
  if (listed.length > TORRENT_FILES_MAX) return fail(`it has more than ${TORRENT_FILES_MAX} files`)
  const files: TorrentFile[] = []
  let offset = 0
  for (const each of listed) {
    if (!isDictionary(each)) return fail('a file of it is none')
    const bytes = each['length']
    if (!isWithin(bytes, 0, IMAGE_BYTES_MAX)) return fail('a file of it has no size')
    const parts = each['path.utf-8'] ?? each['path']
    if (parts === undefined || !isList(parts) || parts.length === 0 || parts.length > PATH_PARTS_MAX)
      return fail('a file of it has no path')
    const path = parts.map((part) => nameOf(part, fail)).join('/')
    const attributes = each['attr']
    const isPadding = attributes instanceof Uint8Array && attributes.includes(0x70)
    if (!isPadding && bytes > 0) files.push({ path, offset, bytes })
    offset += bytes
    if (offset > IMAGE_BYTES_MAX) return fail(`its files are more than ${IMAGE_BYTES_MAX} bytes`)
  }
  if (files.length === 0) return fail('its files are empty')
  return { files, bytes: offset }
}

/** One part of a path: no way out of a folder, and nothing that a terminal would obey. */
function nameOf(value: Bencoded | undefined, fail: Fail): string {
  if (!(value instanceof Uint8Array)) return fail('a name in it is none')
  const name = Buffer.from(value.buffer, value.byteOffset, value.length).toString('utf8')
  // oxlint-disable-next-line no-control-regex
  const isOdd = name === '' || name === '.' || name === '..' || /[/\\\u0000-\u001f\u007f-\u009f]/.test(name)
  if (isOdd || value.length > NAME_BYTES_MAX)
    return fail(`a name in it cannot be one: ${JSON.stringify(name.slice(0, 64))}`)
  return name
}

function trackersOf(top: BencodedDictionary): string[] {
  const found = new Set<string>()
  const take = (value: Bencoded | undefined): void => {
    if (!(value instanceof Uint8Array)) return
    const url = Buffer.from(value.buffer, value.byteOffset, value.length).toString('utf8')
    if (isTracker(url) && found.size < TRACKERS_MAX) found.add(url)
  }
  const tiers = top['announce-list']
  // BEP 12: where there is a list, the single one says nothing.
  if (tiers !== undefined && isList(tiers) && tiers.length > 0)
    for (const tier of tiers) if (isList(tier)) for (const each of tier) take(each)
  if (found.size === 0) take(top['announce'])
  return [...found]
}

/** Over HTTP or UDP: those over WebSockets know browsers only. */
export const isTracker = (url: string): boolean => TRACKER.test(url) && URL.canParse(url)

/**
 * The piece for an image: a chunk, or the power of two from which it has no more than TORRENT_PIECES_WANTED.
 */
export function pieceBytesFor(bytes: number): number {
  let pieceBytes = CHUNK_BYTES
  while (bytes / pieceBytes > TORRENT_PIECES_WANTED && pieceBytes < TORRENT_PIECE_BYTES_MAX) pieceBytes *= 2
  return pieceBytes
}

export type Published = Pick<Metainfo, 'name' | 'bytes' | 'pieceBytes' | 'pieces' | 'private' | 'trackers'>

/** A .torrent of one file. The same image, name and flag are the same torrent, whoever publishes it and when. */
export function buildMetainfo(torrent: Published): Uint8Array {
  const { name, bytes, pieceBytes, pieces, trackers } = torrent
  return encode({
    ...(trackers.length > 0 && { announce: trackers[0], 'announce-list': trackers.map((url) => [url]) }),
    'created by': 'Godwit',
    info: {
      length: bytes,
      name,
      'piece length': pieceBytes,
      pieces,
      ...(torrent.private && { private: 1 }),
    },
  })
}

/**
 * The file that is meant: the one that there is, or the one that is named by its path, its end, or its number from 1.
 * Undefined: it has to be said which.
 */
export function chooseFile(
  files: readonly TorrentFile[],
  wanted: string | undefined,
): TorrentFile | undefined {
  if (wanted === undefined) return files.length === 1 ? files[0] : undefined
  const exact = files.find(({ path }) => path === wanted)
  if (exact !== undefined) return exact
  const ending = files.filter(({ path }) => path.endsWith(`/${wanted}`))
  if (ending.length === 1) return ending[0]
  return /^[1-9][0-9]{0,5}$/.test(wanted) ? files[Number(wanted) - 1] : undefined
}
