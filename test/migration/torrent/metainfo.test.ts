import test from 'ava'
import { encode, type Encodable } from '../../../migration/torrent/bencode.ts'
import { isPeerAddress, parseMagnet } from '../../../migration/torrent/magnet.ts'
import {
  buildMetainfo,
  chooseFile,
  parseMetainfo,
  pieceBytesFor,
} from '../../../migration/torrent/metainfo.ts'

const PIECE = 16 * 1024
const pieces = (count: number): Uint8Array => new Uint8Array(20 * count).fill(7)
const single = { length: 40_000, name: 'disk.raw', 'piece length': PIECE, pieces: pieces(3) }
const torrentOf = (info: Encodable, more: Record<string, Encodable> = {}): Uint8Array =>
  encode({ ...more, info })

test('a .torrent that we make is read as it was meant, and is the same each time', (t) => {
  const made = {
    name: 'disk.raw',
    bytes: 40_000,
    pieceBytes: PIECE,
    pieces: pieces(3),
    private: true,
    trackers: ['http://127.0.0.1:6969/announce', 'udp://[::1]:80'],
  }
  const torrent = buildMetainfo(made)
  t.deepEqual(buildMetainfo(made), torrent)
  const read = parseMetainfo(torrent)
  t.like(read, { name: 'disk.raw', bytes: 40_000, pieceBytes: PIECE, private: true, trackers: made.trackers })
  t.deepEqual(read.files, [{ path: 'disk.raw', offset: 0, bytes: 40_000 }])
  // As transmission-show 3.00 and aria2 1.36 say it.
  t.is(read.infoHash, 'd049333433931d90b01d8b080368dfaab9d9f27e')
})

test('files of a torrent: padding and empty ones are left out, the others keep their places', (t) => {
  const info = {
    name: 'images',
    'piece length': PIECE,
    pieces: pieces(3),
    files: [
      { length: 10, path: ['a', 'one.raw'] },
      { length: PIECE - 10, path: ['.pad', '16374'], attr: 'p' },
      { length: 0, path: ['empty'] },
      { length: 20_000, path: ['b', 'two.raw'] },
    ],
  }
  const { files, bytes } = parseMetainfo(torrentOf(info))
  t.is(bytes, PIECE + 20_000)
  t.deepEqual(files, [
    { path: 'a/one.raw', offset: 0, bytes: 10 },
    { path: 'b/two.raw', offset: PIECE, bytes: 20_000 },
  ])
  t.is(chooseFile(files, undefined), undefined)
  for (const wanted of ['b/two.raw', 'two.raw', '2']) t.is(chooseFile(files, wanted)?.offset, PIECE, wanted)
  for (const wanted of ['three.raw', '3', '0', '']) t.is(chooseFile(files, wanted), undefined, wanted)
})

const paths = (...path: string[]): Encodable => ({
  name: 'images',
  'piece length': PIECE,
  pieces: pieces(1),
  files: [{ length: 10, path }],
})
const hostile: [what: string, torrent: Uint8Array, why: RegExp][] = [
  ['a page of HTML', Buffer.from('<!doctype html>'), /no number/],
  ['a list', encode([]), /no dictionary/],
  ['no info', encode({ announce: 'http://x/' }), /no info/],
  ['no pieces', torrentOf({ length: 1, name: 'x', 'piece length': PIECE }), /no pieces/],
  ['version 2 alone', torrentOf({ 'meta version': 2, name: 'x', 'piece length': PIECE }), /version 2/],
  ['pieces of 2^50 bytes', torrentOf({ ...single, 'piece length': 2 ** 50 }), /its pieces are not/],
  ['pieces of nothing', torrentOf({ ...single, 'piece length': 0 }), /its pieces are not/],
  ['a size below zero', torrentOf({ ...single, length: -1 }), /its size/],
  ['a size of 2^52', torrentOf({ ...single, length: 2 ** 52 }), /its size/],
  ['a size that is a text', torrentOf({ ...single, length: 'x' }), /its size/],
  ['a hash too many', torrentOf({ ...single, pieces: pieces(4) }), /one hash for each piece/],
  ['a name that leads out', torrentOf({ ...single, name: '..' }), /cannot be one/],
  ['a name with a folder', torrentOf({ ...single, name: '../../etc/passwd' }), /cannot be one/],
  ['a name that a terminal obeys', torrentOf({ ...single, name: '\u001b[2J' }), /cannot be one/],
  ['a path that leads out', torrentOf(paths('a', '..', 'b')), /cannot be one/],
  ['a path with a slash', torrentOf(paths('/etc/passwd')), /cannot be one/],
  ['a path of nothing', torrentOf(paths()), /no path/],
  ['no files', torrentOf({ ...single, length: undefined, files: [] }), /no files/],
  [
    'more than all disks',
    torrentOf({
      name: 'x',
      'piece length': PIECE,
      pieces: pieces(1),
      files: Array.from({ length: 3 }, (_, i) => ({ length: 2 ** 43, path: [`${i}`] })),
    }),
    /its files are more/,
  ],
  [
    'an info whose keys are out of order',
    Buffer.from(
      'd4:infod12:piece lengthi16384e4:name1:x6:lengthi5e6:pieces20:aaaaaaaaaaaaaaaaaaaaee',
      'latin1',
    ),
    /one form/,
  ],
]
for (const [what, torrent, why] of hostile)
  test(`refused: ${what}`, (t) => {
    const error = t.throws(() => parseMetainfo(torrent, 'x.torrent'), { name: 'GodwitError', message: why })
    t.like(error, { failure: { code: 'IMAGE_INVALID', path: 'x.torrent' } })
  })

test('trackers of browsers and other programs are left out', (t) => {
  const { trackers } = parseMetainfo(
    torrentOf(single, {
      announce: 'http://not.asked/',
      'announce-list': [['wss://x/', 'udp://y:1'], ['file:///etc'], ['http://z/announce', 'udp://y:1']],
    }),
  )
  t.deepEqual(trackers, ['udp://y:1', 'http://z/announce'])
})

test('the pieces of what is published are few, and no smaller than chunks', (t) => {
  t.is(pieceBytesFor(1), 256 * 1024)
  t.is(pieceBytesFor(16 * 1024 ** 3), 256 * 1024)
  t.is(pieceBytesFor(16 * 1024 ** 3 + 1), 512 * 1024)
  t.is(pieceBytesFor(16 * 1024 ** 4), 64 * 1024 * 1024)
})

const HASH = '0123456789abcdef0123456789abcdef01234567'

test('a magnet link names a torrent, trackers and peers', (t) => {
  const link =
    `magnet:?xt=urn:btih:${HASH.toUpperCase()}&dn=a%20disk&tr=http%3A%2F%2Ft%2Fa&tr=wss%3A%2F%2Fx&tr=udp://u:1` +
    '&x.pe=127.0.0.1:6881&x.pe=evil.example:1&x.pe=[::1]:2&xs=http://never.asked/'
  t.deepEqual(parseMagnet(link), {
    infoHash: HASH,
    name: 'a disk',
    trackers: ['http://t/a', 'udp://u:1'],
    peers: ['127.0.0.1:6881', '[::1]:2'],
  })
  const base32 = 'AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH'
  t.is(parseMagnet(`magnet:?xt=urn:btih:${base32}`).infoHash, HASH)
})

const magnets: [what: string, link: string, why: RegExp][] = [
  ['nothing', 'magnet:', /names no torrent/],
  ['a short hash', 'magnet:?xt=urn:btih:abc', /names no torrent/],
  ['version 2', `magnet:?xt=urn:btmh:1220${HASH}`, /version 2/],
  ['another network', `magnet:?xt=urn:sha1:${HASH}`, /names no torrent/],
]
for (const [what, link, why] of magnets)
  test(`no magnet link: ${what}`, (t) => {
    t.throws(() => parseMagnet(link), { name: 'GodwitError', message: why })
  })

test('addresses of peers are numbers', (t) => {
  for (const good of ['127.0.0.1:1', '[2001:db8::1]:65535']) t.true(isPeerAddress(good), good)
  const bad = [
    'localhost:1',
    '127.0.0.1',
    '127.0.0.1:0',
    '1.2.3.4:65536',
    '300.1.1.1:5',
    '::1:5',
    '[x]:1',
    '',
  ]
  for (const each of bad) t.false(isPeerAddress(each), each)
})
