import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { buildMetainfo } from '../../../migration/torrent/metainfo.ts'
import { CHUNK_BYTES } from '../../../protocols/limits.ts'
import { content, folderOf, open } from './support.ts'

const raw = content(3_000_320, 5)
const SHA256 = createHash('sha256').update(raw).digest('hex')

type Serve = (request: IncomingMessage, response: ServerResponse) => void

async function server(t: ExecutionContext, serve: Serve): Promise<string> {
  const listening = createServer(serve)
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    listening.closeAllConnections()
    listening.close()
  })
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}/disk.raw`
}

/** As most servers do it: a validator, and ranges while it fits. Breaks the connection after `bytesMax`. */
function send(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
  bytesMax = bytes.length,
): void {
  const etag = `"${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}"`
  const { range = '', 'if-range': condition } = request.headers
  const from = condition === etag ? Number(/^bytes=(\d+)-$/.exec(range)?.[1] ?? 0) : 0
  response.writeHead(from > 0 ? 206 : 200, {
    etag,
    'content-length': bytes.length - from,
    ...(from > 0 && { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
  })
  const part = bytes.subarray(from, from + bytesMax)
  if (from + part.length === bytes.length) response.end(part)
  else response.write(part, () => setImmediate(() => response.destroy()))
}

test('an image comes from a web server whose connections break, and nothing twice', async (t) => {
  let sent = 0
  const ranges: string[] = []
  const source = await server(t, (request, response) => {
    ranges.push(request.headers.range ?? '')
    sent++
    send(request, response, raw, sent < 3 ? 1_200_000 : raw.length)
  })
  const { fetch, bytes } = await open(t)
  let wireBytes = 0
  const { manifest } = await fetch({ source, checksum: `sha256:${SHA256}` }, (now) => ({ wireBytes } = now))
  t.true(raw.equals(await readFile(await bytes(manifest))))
  t.is(ranges.length, 3)
  t.is(ranges[0], '')
  for (const range of ranges.slice(1)) t.regex(range, /^bytes=\d+-$/)
  // A chunk that was cut in two for each connection that broke.
  t.true(wireBytes <= raw.length + 2 * CHUNK_BYTES, `${wireBytes}`)
})

test('a peer that was killed goes on where it was, unless the file is another one now', async (t) => {
  const other = content(2_000_384, 9)
  let served = raw
  let stalled = true
  const froms: number[] = []
  const source = await server(t, (request, response) => {
    froms.push(Number(/\d+/.exec(request.headers.range ?? '0')?.[0]))
    if (!stalled) return send(request, response, served)
    response.writeHead(200, {
      etag: `"${createHash('sha256').update(raw).digest('hex').slice(0, 16)}"`,
      'content-length': raw.length,
    })
    response.write(raw.subarray(0, 2_000_000))
  })
  const folder = await folderOf(t)
  for (const [now, expected] of [
    [raw, raw],
    [other, other],
  ] as const) {
    stalled = true
    const killed = await open(t, folder)
    await new Promise<void>((resolve) => {
      killed.fetch({ source }, ({ doneBytes }) => doneBytes >= 7 * CHUNK_BYTES && resolve()).catch(() => {})
    })
    await killed.close()
    stalled = false
    served = now
    const again = await open(t, folder)
    const { manifest } = await again.fetch({ source })
    t.true(expected.equals(await readFile(await again.bytes(manifest))))
    await again.close()
  }
  t.deepEqual(froms, [0, 7 * CHUNK_BYTES, 0, 7 * CHUNK_BYTES])
})

const refusals: [what: string, serve: Serve, why: RegExp][] = [
  ['nothing is there', (_, response) => response.writeHead(404).end(), /404/],
  [
    'no length is said',
    (_, response) => {
      response.write('x')
      response.end()
    },
    /how long/,
  ],
  ['it is empty', (_, response) => response.writeHead(200, { 'content-length': 0 }).end(), /how long/],
  ['it is no disk', (_, response) => response.writeHead(200, { 'content-length': 5 }).end('hello'), /512/],
  [
    'it is a page that is called a torrent',
    (_, response) => response.writeHead(200, { 'content-type': 'application/x-bittorrent' }).end('<html>'),
    /no number/,
  ],
  [
    'it is a torrent of nobody',
    (_, response) => {
      const torrent = { name: 'x', bytes: 5, pieceBytes: 16_384, pieces: new Uint8Array(20) }
      response.writeHead(200, { 'content-type': 'application/x-bittorrent' })
      response.end(buildMetainfo({ ...torrent, private: false, trackers: [] }))
    },
    /no tracker/,
  ],
]
for (const [what, serve, why] of refusals)
  test(`refused: ${what}`, async (t) => {
    const source = await server(t, serve)
    const { fetch } = await open(t)
    t.regex((await t.throwsAsync(fetch({ source })))?.message ?? '', why)
  })

test('an image that is not what its checksum says is not named', async (t) => {
  const source = await server(t, (request, response) => send(request, response, raw))
  const { fetch, folder } = await open(t)
  const error = await t.throwsAsync(fetch({ source, checksum: `sha256:${'0'.repeat(64)}` }))
  t.regex(error?.message ?? '', new RegExp(SHA256))
  // And is fetched again, not taken for what it is not.
  t.deepEqual(await readdir(join(folder, 'gateway', 'coming')), [])
})
