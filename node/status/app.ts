/**
 * What the status endpoint answers: the reads of OPERATIONS that have a path, in the same envelope and by the same
 * schemas as the CLI; health, metrics, its own description, and a page. GET and HEAD, nothing else.
 */
import { readFileSync } from 'node:fs'
import { hash } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { OpenAPIHono, z } from '@hono/zod-openapi'
import type { Context, Next } from 'hono'
import { type Failure, RULES } from '../../protocols/errors.ts'
import { failed, type Outcome } from '../../protocols/outcome.ts'
import { answer } from '../control/answer.ts'
import { envelope, errorEnvelope, KINDS } from '../control/envelope.ts'
import type { Peer } from '../control/peer.ts'
import { VERSION } from '../version.ts'
import type { Log } from '../log.ts'
import { type Method, OPERATIONS } from '../operations.ts'
import { SCHEMA_VERSION } from '../views.ts'
import { HEADERS } from './server.ts'

type Serving = { readonly peer: Peer; readonly log: Log }

/** Requests in hand; a peer has better things to do than to be watched by more. */
const REQUESTS_MAX = 64
/** Reads are answered from memory; one that is not here by then will not come. */
const ANSWER_MS_MAX = 5_000

/** Why a request failed, as HTTP says it; everything else is 500. */
const STATUS_OF: Partial<Record<Failure['code'], 404 | 503 | 504>> = {
  NOT_FOUND: 404,
  PEER_BUSY: 503,
  STOPPING: 503,
  NO_LEADER: 503,
  TIMEOUT: 504,
  PEER_UNREACHABLE: 504,
}

const common = {
  schema: z.literal(SCHEMA_VERSION),
  warnings: z.array(z.string()).describe('what to mind when reading it'),
  asOf: z.iso.datetime().describe('when the answer was made'),
  staleMs: z.number().min(0).describe('age of the oldest news in it, in ms'),
}

const errorSchema = z.object({
  schema: z.literal(SCHEMA_VERSION),
  kind: z.literal('error'),
  code: z.enum(Object.keys(RULES)),
  exit: z.int().describe('exit status of the CLI for the same failure'),
  message: z.string(),
  peer: z.string(),
  next: z.string().describe('the next command to try; empty when there is none'),
  details: z.record(z.string(), z.unknown()),
})

/** The envelope around what `method` answers with. */
export function envelopeSchema(method: Method): z.ZodObject {
  const { answer: schema } = OPERATIONS[method]
  const kind = z.literal(KINDS[method])
  return schema instanceof z.ZodArray
    ? z.object({ ...common, kind, items: schema })
    : z.object({ ...common, kind, item: schema })
}

export function listener(serving: Serving): RequestListener {
  const { fetch } = app(serving)
  const handle = getRequestListener(fetch, { overrideGlobalObjects: false })
  return (request, response) => void handle(request, response)
}

function app({ log, peer }: Serving): OpenAPIHono {
  const app = new OpenAPIHono()
  const fail = (c: Context, failure: Failure): Response =>
    c.json(errorEnvelope(failure, ''), STATUS_OF[failure.code] ?? 500)

  app.use('*', guard(fail))
  health(app)

  for (const [name, { path, changes }] of Object.entries(OPERATIONS)) {
    if (path === undefined || changes) continue
    const method = name as Method
    app.openAPIRegistry.registerPath({
      method: 'get',
      path,
      operationId: method,
      summary: `the same as godwit ${method.replace('.', ' ')} -o json`,
      responses: {
        200: json('the answer', envelopeSchema(method)),
        500: json('a failure', errorSchema),
        503: json('too much in hand, or no leader', errorSchema),
        504: json('no answer in time', errorSchema),
      },
    })
    app.get(path, async (c) => {
      const outcome = await bounded(method, answer(peer, log, method, {}))
      if (!outcome.ok) return fail(c, outcome.failure)
      return c.json(envelope(KINDS[method], outcome.value, new Date().toISOString()))
    })
  }

  app.openAPIRegistry.registerPath(plain('/metrics', 'figures in the text format of Prometheus'))
  app.get('/metrics', async (c) => {
    const text = new Promise<Outcome<string>>((resolve) => peer.metrics(resolve))
    const outcome = await bounded('metrics', text)
    if (!outcome.ok) return fail(c, outcome.failure)
    return c.text(outcome.value, 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
  })

  app.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: { title: 'Godwit status endpoint', version: VERSION, description: 'Read-only view of one peer.' },
  })
  page(app)
  app.notFound((c) => fail(c, { code: 'NOT_FOUND', what: 'page', name: c.req.path.slice(0, 256) }))
  app.onError((error, c) => {
    log.error({ error: String(error.stack ?? error) }, 'a request threw')
    return fail(c, { code: 'INTERNAL', why: error.message.slice(0, 300) })
  })
  return app
}

/** Refuses what is no read, and what is too much. */
function guard(fail: (c: Context, failure: Failure) => Response) {
  let inHand = 0
  return async (c: Context, next: Next): Promise<Response | undefined> => {
    if (c.req.method !== 'GET' && c.req.method !== 'HEAD') {
      return c.text('read-only\n', 405, { allow: 'GET, HEAD' })
    }
    if (inHand >= REQUESTS_MAX) return fail(c, { code: 'PEER_BUSY', peer: 'this peer', what: 'requests' })
    inHand++
    try {
      await next()
    } finally {
      inHand--
    }
    for (const [name, value] of Object.entries(HEADERS)) c.header(name, value)
    return undefined
  }
}

/** What server.ts answers without us. */
function health(app: OpenAPIHono): void {
  app.openAPIRegistry.registerPath(plain('/healthz', 'the process answers'))
  app.openAPIRegistry.registerPath(
    plain('/readyz', 'the peer takes part; 503 until it does and while it drains'),
  )
}

/** One file without anything from elsewhere; the policy names its own script and style by their hashes. */
function page(app: OpenAPIHono): void {
  const html = readFileSync(new URL('page.html', import.meta.url), 'utf8')
  const hashOf = (tag: string): string => {
    const [, text = ''] = new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`).exec(html) ?? []
    return `'sha256-${hash('sha256', text, 'base64')}'`
  }
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf('script')}`,
    `style-src ${hashOf('style')}`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
  app.get('/', (c) =>
    c.html(html, 200, { 'content-security-policy': policy, 'referrer-policy': 'no-referrer' }),
  )
}

const json = (description: string, schema: z.ZodType) => ({
  description,
  content: { 'application/json': { schema } },
})

const plain = (path: string, summary: string) => ({
  method: 'get' as const,
  path,
  summary,
  responses: { 200: { description: summary, content: { 'text/plain': { schema: z.string() } } } },
})

async function bounded<T>(what: string, answer: Promise<Outcome<T>>): Promise<Outcome<T>> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Outcome<T>>((resolve) => {
    timer = setTimeout(
      () => resolve(failed({ code: 'TIMEOUT', what, afterMs: ANSWER_MS_MAX })),
      ANSWER_MS_MAX,
    )
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
