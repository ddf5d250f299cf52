import { createServer } from 'node:http'
import test from 'ava'
import { z } from 'zod'
import { serveStatus } from '../../../node/status/server.ts'
import { envelopeSchema } from '../../../node/status/app.ts'
import { silentLog } from '../../../node/log.ts'
import { type Method, OPERATIONS } from '../../../node/operations.ts'
import { type FakePeer, fakePeer, refusing, type Replies } from '../cli/support.ts'

async function open(replies: Replies = {}) {
  const peer = fakePeer(replies)
  const server = await serveStatus({ address: '127.0.0.1:0', peer, log: silentLog })
  return { peer, server, get: (path: string, init?: RequestInit) => fetch(server.address + path, init) }
}

const READS = Object.entries(OPERATIONS).flatMap(([method, { path }]) =>
  path === undefined ? [] : [{ method: method as Method, path }],
)

type Document = {
  openapi: string
  paths: Record<
    string,
    { get: { responses: Record<string, { content: Record<string, { schema: object }> }> } }
  >
  components?: object
}

test('every read is answered as its schema and the OpenAPI document say', async (t) => {
  const { get, server } = await open()
  const document = (await (await get('/openapi.json')).json()) as Document
  t.is(document.openapi, '3.1.0')
  t.true(READS.length >= 6)
  for (const { method, path } of READS) {
    const response = await get(path)
    t.is(response.status, 200, path)
    t.is(response.headers.get('content-type'), 'application/json')
    t.is(response.headers.get('cache-control'), 'no-store')
    const body: unknown = await response.json()
    t.notThrows(() => z.strictObject(envelopeSchema(method).shape).parse(body), path)
    const described = document.paths[path]?.get.responses['200']?.content['application/json']?.schema
    t.truthy(described, path)
    // The document by itself, as another program would read it.
    const schema = z.fromJSONSchema(described as z.core.JSONSchema.JSONSchema)
    t.notThrows(() => schema.parse(body), path)
    t.throws(() => schema.parse({ ...(body as object), schema: 2 }), undefined, path)
  }
  for (const path of ['/healthz', '/readyz', '/metrics']) t.truthy(document.paths[path], path)
  await server.close()
})

test('a list says how stale it is', async (t) => {
  const { get, server } = await open()
  const body = (await (await get('/v1/peers')).json()) as {
    staleMs: number
    warnings: string[]
    kind: string
  }
  t.like(body, { schema: 1, kind: 'peer', staleMs: 95_000 })
  t.deepEqual(body.warnings, ['1 of 2 may be wrong by now: as of 95 s ago'])
  await server.close()
})

test('anything but GET and HEAD is 405, everywhere', async (t) => {
  const { get, server, peer } = await open()
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    for (const path of ['/', '/v1/vms', '/healthz', '/nowhere']) {
      const response = await get(path, { method })
      t.is(response.status, 405, `${method} ${path}`)
      t.is(response.headers.get('allow'), 'GET, HEAD')
    }
  }
  const head = await get('/v1/vms', { method: 'HEAD' })
  t.is(head.status, 200)
  t.is(await head.text(), '')
  t.true(peer.asked.every(({ method }) => method === 'vm.list'))
  await server.close()
})

test('health, readiness and metrics', async (t) => {
  const { get, server, peer } = await open()
  t.is((await get('/healthz')).status, 200)
  t.is((await get('/readyz')).status, 200)
  const metrics = await get('/metrics')
  t.is(metrics.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  t.regex(await metrics.text(), /^godwit_up 1$/m)
  peer.isReady = false
  t.is((await get('/readyz')).status, 503)
  peer.why = 'this peer was removed'
  t.is(await (await get('/readyz')).text(), 'not ready: this peer was removed\n')
  peer.isReady = true
  server.drain()
  t.is((await get('/readyz')).status, 503)
  t.is((await get('/healthz')).status, 200)
  await server.close()
})

test('a failure is an envelope with a status that fits', async (t) => {
  const rows: [failure: Parameters<typeof refusing>[0], status: number][] = [
    [{ code: 'STOPPING', peer: 'crane' }, 503],
    [{ code: 'TIMEOUT', what: 'vm.list', afterMs: 1 }, 504],
    [{ code: 'INTERNAL', why: 'x' }, 500],
  ]
  for (const [failure, status] of rows) {
    const { get, server } = await open({ 'vm.list': refusing(failure) })
    const response = await get('/v1/vms')
    t.is(response.status, status)
    t.like(await response.json(), { schema: 1, kind: 'error', code: failure.code })
    await server.close()
  }
  const { get, server } = await open()
  const missing = await get('/v1/<script>')
  t.is(missing.status, 404)
  t.like(await missing.json(), { kind: 'error', code: 'NOT_FOUND' })
  await server.close()
})

test('the page loads nothing from elsewhere and runs only its own script', async (t) => {
  const { get, server } = await open()
  const page = await get('/')
  const html = await page.text()
  t.regex(page.headers.get('content-type') ?? '', /^text\/html/)
  t.regex(page.headers.get('content-security-policy') ?? '', /default-src 'none'; script-src 'sha256-/)
  t.notRegex(page.headers.get('content-security-policy') ?? '', /unsafe|https?:/)
  t.notRegex(html, /https?:\/\/|innerHTML|<link|src=/)
  await server.close()
})

test('on loopback, a name that is not loopback’s is refused', async (t) => {
  const { server } = await open()
  const { request } = await import('node:http')
  const status = await new Promise((resolve) => {
    request(`${server.address}/v1/vms`, { headers: { host: 'evil.example' } }, (response) => {
      response.resume()
      resolve(response.statusCode)
    }).end()
  })
  t.is(status, 421)
  await server.close()
})

test('more requests than are answered at once get 503', async (t) => {
  const held: { peer?: FakePeer } = {}
  const { get, server, peer } = await open({ 'vm.list': () => undefined })
  held.peer = peer
  const abort = new AbortController()
  const waiting = Array.from({ length: 64 }, () => get('/v1/vms', { signal: abort.signal }).catch(() => {}))
  while (peer.asked.length < 64) await new Promise((resolve) => setImmediate(resolve))
  t.is((await get('/v1/vms')).status, 503)
  abort.abort()
  await Promise.all(waiting)
  await server.close()
})

test('an address in use is said so', async (t) => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as { port: number }
  const address = `127.0.0.1:${port}`
  const error = await t.throwsAsync(serveStatus({ address, peer: fakePeer(), log: silentLog }))
  t.like(error, { failure: { code: 'ADDRESS_IN_USE', address } })
  other.close()
})
