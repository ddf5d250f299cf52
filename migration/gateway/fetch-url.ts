/**
 * An image, or a .torrent, from a web server. An image is taken from its first byte to its last, chunk by chunk; a connection that
 * breaks, or a peer that was killed, goes on with Range where it was, as long as the server's ETag or date says that it is
 * the same file.
 *
 *   asking ─200, 206─▶ taking ──▶ whole
 *      ▲ └─ 4xx ─▶ refused  │ broken, or silent for READ_MS
 *      └──── 1, 2, 4, 8 s ──┘ and refused after TRIES without one new chunk
 */
import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { failureOf, GodwitError } from '../../protocols/errors.ts'
import { CHUNK_BYTES, IMAGE_BYTES_MAX, TORRENT_BYTES_MAX } from '../../protocols/limits.ts'
import { chunkLength } from '../../storage/images/manifest.ts'
import type { Report } from './fetch-torrent.ts'
import { type Arrived, Intake, type Wanted } from './intake.ts'
import type { Link } from './link.ts'

export type UrlRequest = Wanted & { readonly source: string; readonly folder: string }

/** To the next byte; a server that reads a tape is not for us. */
const READ_MS = 30_000
const TRIES = 5
const TORRENT_TYPE = 'application/x-bittorrent'

/** A .torrent when that is what the server has there. */
export async function fetchUrl(
  request: UrlRequest,
  link: Link,
  report: Report,
): Promise<Arrived | { readonly torrent: Uint8Array }> {
  const { source } = request
  const folder = join(request.folder, `url-${createHash('sha256').update(source).digest('hex').slice(0, 40)}`)
  await mkdir(folder, { recursive: true })
  const fetching = new FetchingUrl(request, folder, link, report)
  let tries = 0
  try {
    for (;;) {
      const before = fetching.doneBytes
      try {
        const end = await fetching.once()
        if (end !== undefined) return end
      } catch (error) {
        if (error instanceof GodwitError || failureOf(error).code === 'DISK_FULL') throw error
        tries = fetching.doneBytes > before ? 1 : tries + 1
        if (tries >= TRIES) throw refused(source, reasonOf(error))
        await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** tries))
      }
    }
  } finally {
    await fetching.close()
  }
}

class FetchingUrl {
  readonly #request: UrlRequest
  readonly #folder: string
  readonly #link: Link
  readonly #report: Report
  #intake: Intake | undefined
  #validator = ''
  #wireBytes = 0

  constructor(request: UrlRequest, folder: string, link: Link, report: Report) {
    this.#request = request
    this.#folder = folder
    this.#link = link
    this.#report = report
  }

  get doneBytes(): number {
    return this.#intake?.doneBytes ?? 0
  }

  close(): Promise<void> {
    return this.#intake?.close() ?? Promise.resolve()
  }

  /** One connection. Undefined when it ended before the image did. */
  async once(): Promise<Arrived | { readonly torrent: Uint8Array } | undefined> {
    const { source } = this.#request
    await this.#takeUp()
    if (this.#intake?.isWhole === true) return this.#finish(this.#intake)
    const from = this.#from()
    const abort = new AbortController()
    const silence = setTimeout(() => abort.abort(new Error('it says nothing')), READ_MS)
    try {
      const answer = await fetch(source, {
        signal: abort.signal,
        headers: {
          'user-agent': 'godwit',
          'accept-encoding': 'identity',
          ...(from > 0 && { range: `bytes=${from}-`, 'if-range': this.#validator }),
        },
      })
      const body = await this.#checked(answer)
      if (isTorrent(answer)) return { torrent: await readAll(body, source, () => silence.refresh()) }
      const start = await this.#agree(answer, from)
      await this.#take(body, start, () => silence.refresh())
    } finally {
      clearTimeout(silence)
      abort.abort()
    }
    const intake = this.#intake as Intake
    if (!intake.isWhole) throw new Error('the connection ended early')
    return this.#finish(intake)
  }

  #finish(intake: Intake): Promise<Arrived> {
    return intake.finish((doneBytes) => this.#tell('checking', doneBytes))
  }

  /** The first chunk that is missing: the stream goes on from there. */
  #from(): number {
    const intake = this.#intake
    if (intake === undefined || this.#validator === '') return 0
    let index = 0
    while (intake.isHere(index)) index++
    return index * CHUNK_BYTES
  }

  async #checked(answer: Response): Promise<ReadableStream<Uint8Array>> {
    const { source } = this.#request
    const { status, body } = answer
    if (source.startsWith('https:') && !answer.url.startsWith('https:'))
      throw refused(source, 'it leads to a server without TLS')
    if (status >= 500 || status === 429 || status === 408) throw new Error(`it answers ${status}`)
    if (status !== 200 && status !== 206) throw refused(source, `it answers ${status}`)
    if (body === null) throw refused(source, 'it answers nothing')
    return body as ReadableStream<Uint8Array>
  }

  /** What the server sends, in place of what was asked for: from which byte on. Another file than before begins anew. */
  async #agree(answer: Response, from: number): Promise<number> {
    const { source } = this.#request
    const [, first, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.headers.get('content-range') ?? '') ?? []
    const start = answer.status === 206 ? Number(first ?? Number.NaN) : 0
    const bytes = answer.status === 206 ? Number(total ?? Number.NaN) : lengthOf(answer)
    if (!Number.isSafeInteger(bytes) || bytes < 1 || bytes > IMAGE_BYTES_MAX)
      throw refused(source, 'it does not say how long the image is')
    if (answer.status === 206 && (start !== from || bytes !== this.#intake?.bytes))
      throw refused(source, 'it sends another part than was asked for')
    if (answer.status === 200) await this.#beginAnew(bytes, validatorOf(answer))
    return start
  }

  /** What an earlier life or connection left, when it is known which file that was. */
  async #takeUp(): Promise<void> {
    if (this.#intake !== undefined) return
    const noted = await readFile(join(this.#folder, NOTE), 'utf8').catch(() => '')
    const [, bytes = '', validator = ''] = /^(\d{1,15}) (.{1,1000})$/.exec(noted) ?? []
    if (validator === '') return
    this.#validator = validator
    this.#intake = await this.#open(Number(bytes))
  }

  async #beginAnew(bytes: number, validator: string): Promise<void> {
    await this.#intake?.close()
    await rm(this.#folder, { recursive: true, force: true })
    await mkdir(this.#folder, { recursive: true })
    this.#validator = validator
    if (validator !== '') await writeFile(join(this.#folder, NOTE), `${bytes} ${validator}`)
    this.#intake = await this.#open(bytes)
  }

  #open(bytes: number): Promise<Intake> {
    return Intake.open(this.#request.source, this.#folder, bytes, this.#request, this.#link)
  }

  async #take(body: ReadableStream<Uint8Array>, start: number, heard: () => void): Promise<void> {
    const intake = this.#intake as Intake
    let index = start / CHUNK_BYTES
    let chunk = this.#room(intake, index)
    let filled = 0
    this.#tell('fetching', intake.doneBytes)
    for await (const part of body) {
      heard()
      this.#wireBytes += part.length
      for (let at = 0; at < part.length;) {
        if (chunk.length === 0) throw refused(this.#request.source, 'it sends more than it said')
        const some = part.subarray(at, at + chunk.length - filled)
        chunk.set(some, filled)
        filled += some.length
        at += some.length
        if (filled < chunk.length) continue
        await intake.put(index, chunk)
        this.#tell('fetching', intake.doneBytes)
        chunk = this.#room(intake, ++index)
        filled = 0
      }
    }
  }

  #room({ bytes, chunks }: Intake, index: number): Uint8Array {
    return new Uint8Array(index < chunks ? chunkLength({ bytes, chunkBytes: CHUNK_BYTES }, index) : 0)
  }

  #tell(phase: string, doneBytes: number): void {
    const totalBytes = this.#intake?.bytes ?? 0
    this.#report({ phase, doneBytes, totalBytes, wireBytes: this.#wireBytes, sources: 1 })
  }
}

const NOTE = 'file'

const isTorrent = ({ headers, url }: Response): boolean =>
  (headers.get('content-type') ?? '').startsWith(TORRENT_TYPE) || new URL(url).pathname.endsWith('.torrent')

/** A strong ETag, else a date; what is neither proves nothing. */
function validatorOf({ headers }: Response): string {
  const etag = headers.get('etag') ?? ''
  return /^"[^\r\n]{1,900}"$/.test(etag) ? etag : (headers.get('last-modified') ?? '').slice(0, 100)
}

const lengthOf = ({ headers }: Response): number => Number(headers.get('content-length') ?? Number.NaN)

async function readAll(
  body: ReadableStream<Uint8Array>,
  source: string,
  heard: () => void,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of body) {
    heard()
    bytes += part.length
    if (bytes > TORRENT_BYTES_MAX) throw refused(source, `its .torrent is over ${TORRENT_BYTES_MAX} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

const refused = (source: string, why: string): GodwitError =>
  new GodwitError({ code: 'SOURCE_REFUSED', source, why })

/** fetch() says what is wrong in its cause. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error
  return (cause instanceof Error && cause.message !== '' ? cause.message : message).slice(0, 300)
}
