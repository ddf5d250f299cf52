/** The status endpoint of a real peer: every path, by its own schemas; nothing but reads; figures that Prometheus takes. */
import { spawnSync } from 'node:child_process'
import test from 'ava'
import { envelopeSchema } from '../../node/status/app.ts'
import { type Method, OPERATIONS } from '../../node/operations.ts'
import { importGuest } from './guests.ts'
import { faultsOf } from './prometheus.ts'
import { Mesh, must, type Peer } from './support.ts'

const mesh = new Mesh()
let crane: Peer

test.before('a peer with an image, a VM and a job', async () => {
  crane = await mesh.peer('crane', 'harbour', { driver: 'tcg' })
  await mesh.form(crane)
  await importGuest(mesh, crane, 'guest')
  must(
    await mesh.godwit(crane, [
      'vm',
      'create',
      'still',
      '--image',
      'guest',
      '--memory',
      '32MiB',
      '--no-start',
    ]),
  )
})
test.after.always(() => mesh.close())

const get = (path: string, method = 'GET'): Promise<Response> =>
  fetch(`http://127.0.0.1:${crane.ports.http}${path}`, { method })

const reads = Object.entries(OPERATIONS).flatMap(([method, { path }]) =>
  path === undefined ? [] : [[method as Method, path] as const],
)
const others = ['/', '/healthz', '/readyz', '/metrics', '/openapi.json']

test('every read answers by its schema', async (t) => {
  t.true(reads.length >= 6)
  for (const [method, path] of reads) {
    const answer = await get(path)
    t.is(answer.status, 200, path)
    const body: unknown = await answer.json()
    t.deepEqual(envelopeSchema(method).safeParse(body).error, undefined, path)
    const { items } = body as { items?: unknown[] }
    if (items !== undefined) t.true(items.length > 0, `${path} lists something`)
  }
})

test('the other paths answer, and the description names all of them', async (t) => {
  for (const path of others) t.is((await get(path)).status, 200, path)
  t.regex((await get('/')).headers.get('content-security-policy') ?? '', /default-src 'none'/)
  const { paths } = (await (await get('/openapi.json')).json()) as { paths: object }
  const described = [...reads.map(([, path]) => path), '/healthz', '/readyz', '/metrics']
  t.deepEqual(Object.keys(paths).toSorted(), described.toSorted())
  t.is((await get('/v1/nothing')).status, 404)
})

test('nothing but GET and HEAD', async (t) => {
  for (const path of [...reads.map(([, each]) => each), ...others]) {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const answer = await get(path, method)
      t.is(answer.status, 405, `${method} ${path}`)
      t.is(answer.headers.get('allow'), 'GET, HEAD')
    }
    const head = await get(path, 'HEAD')
    t.is(head.status, 200, path)
    t.is(await head.text(), '')
  }
})

test('Prometheus takes the figures', async (t) => {
  const answer = await get('/metrics')
  t.regex(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const text = await answer.text()
  t.deepEqual(faultsOf(text), [])
  const promtool = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' })
  if (promtool.error !== undefined)
    return t.log('NOT CHECKED by promtool, which is not installed (apt-get install prometheus)')
  t.is(promtool.status, 0, promtool.stdout + promtool.stderr)
  t.is(promtool.stderr, '')
})
