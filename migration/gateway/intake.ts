/**
 * An image from outside on its way in: from bytes of its file to chunks in a sink. The first chunk says what the file is, and so
 * which sink it is; until it is here, nothing else is asked for.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { GodwitError } from '../../protocols/errors.ts'
import { CHUNK_BYTES } from '../../protocols/limits.ts'
import { checkHeader, HEADER_BYTES } from '../../storage/images/image-header.ts'
import type { ImageFormat } from '../../storage/images/image-reader.ts'
import { chunkCount, chunkLength } from '../../storage/images/manifest.ts'
import type { Link } from './link.ts'
import { CONTENT, openFileSink, openStoreSink, type Sink } from './sink.ts'

export type Wanted = {
  readonly format: ImageFormat | 'auto'
  /** `sha256:HEX` or `sha512:HEX` of the whole file; empty: not known. */
  readonly checksum: string
}

export type Arrived = {
  readonly kind: Sink['kind']
  readonly bytes: number
  readonly hashes: Uint8Array<ArrayBuffer>
  readonly newBytes: number
  /** The file to import, of kind `file`. */
  readonly path: string
}

export class Intake {
  readonly bytes: number
  readonly chunks: number
  readonly #source: string
  readonly #folder: string
  readonly #wanted: Wanted
  readonly #link: Link
  #sink: Sink | undefined
  #doneBytes = 0
  #missing: number

  private constructor(source: string, folder: string, bytes: number, wanted: Wanted, link: Link) {
    this.#source = source
    this.#folder = folder
    this.bytes = bytes
    this.chunks = chunkCount({ bytes, chunkBytes: CHUNK_BYTES })
    this.#missing = this.chunks
    this.#wanted = wanted
    this.#link = link
  }

  /** `source` is for people. `folder` is this image's own; what an earlier life left there is taken up. */
  static async open(
    source: string,
    folder: string,
    bytes: number,
    wanted: Wanted,
    link: Link,
  ): Promise<Intake> {
    // Two imports of the same would write into each other's ledger.
    await link.ask('claim', folder)
    await mkdir(folder, { recursive: true })
    const intake = new Intake(source, folder, bytes, wanted, link)
    if (existsSync(join(folder, CONTENT))) await intake.#take('file')
    else if (existsSync(join(folder, 'chunks'))) await intake.#take('store')
    return intake
  }

  get doneBytes(): number {
    return this.#doneBytes
  }

  get isWhole(): boolean {
    return this.#missing === 0
  }

  /** Whether more than the first chunk may be asked for. */
  get isKnown(): boolean {
    return this.#sink !== undefined
  }

  isHere(index: number): boolean {
    return this.#sink?.isHere(index) === true
  }

  /** @throws GodwitError IMAGE_INVALID when the first chunk shows that it is no image that can be taken. */
  async put(index: number, content: Uint8Array): Promise<void> {
    if (index === 0) await this.#look(content)
    if (this.#sink === undefined) throw new Error('the first chunk comes first')
    if (this.#sink.isHere(index)) return
    await this.#sink.put(index, content)
    this.#count(index)
  }

  get(index: number): Promise<Uint8Array | undefined> {
    return this.#sink?.get(index) ?? Promise.resolve(undefined)
  }

  /** @throws GodwitError IMAGE_INVALID when the whole is not what its checksum says. */
  async finish(onProgress: (doneBytes: number) => void): Promise<Arrived> {
    const sink = this.#sink as Sink
    if (this.#wanted.checksum !== '') {
      const why = await this.#fault(onProgress)
      if (why !== undefined) {
        await this.close()
        await rm(this.#folder, { recursive: true, force: true })
        throw this.#invalid(why)
      }
    }
    const { kind, bytes, newBytes } = sink
    const arrived = { kind, bytes, newBytes, hashes: sink.hashes(), path: join(this.#folder, CONTENT) }
    await sink.close()
    this.#sink = undefined
    return arrived
  }

  async close(): Promise<void> {
    await this.#sink?.close()
    this.#sink = undefined
  }

  async #look(content: Uint8Array): Promise<void> {
    const checked = checkHeader(
      this.#wanted.format,
      Buffer.from(content.subarray(0, HEADER_BYTES)),
      this.bytes,
    )
    if ('why' in checked) throw this.#invalid(checked.why)
    const kind = checked.format === 'raw' ? 'store' : 'file'
    if (this.#sink === undefined) await this.#take(kind)
  }

  async #take(kind: Sink['kind']): Promise<void> {
    this.#sink =
      kind === 'file'
        ? await openFileSink(this.#folder, this.bytes)
        : await openStoreSink(this.#folder, this.bytes, this.#link)
    for (let index = 0; index < this.chunks; index++) if (this.#sink.isHere(index)) this.#count(index)
  }

  #count(index: number): void {
    this.#missing--
    this.#doneBytes += chunkLength({ bytes: this.bytes, chunkBytes: CHUNK_BYTES }, index)
  }

  async #fault(onProgress: (doneBytes: number) => void): Promise<string | undefined> {
    const [algorithm = '', expected = ''] = this.#wanted.checksum.split(':')
    const sum = createHash(algorithm)
    for (let index = 0; index < this.chunks; index++) {
      const content = await this.get(index)
      if (content === undefined) return 'a chunk of it was lost again'
      sum.update(content)
      onProgress(index * CHUNK_BYTES)
    }
    const found = sum.digest('hex')
    const isRight = found === expected.toLowerCase()
    return isRight ? undefined : `its ${algorithm} is ${found}, not ${expected.toLowerCase()}`
  }

  #invalid(why: string): GodwitError {
    return new GodwitError({ code: 'IMAGE_INVALID', path: this.#source, why })
  }
}
