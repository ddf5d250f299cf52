/**
 * The CPU work of blocks (storage/images/block-work.ts) on the process's worker threads. Deltas are read in libuv's pool, one
 * part at a time: they come over seconds, and a worker that waits is one that nobody else has.
 */
import { createZstdDecompress, type ZstdDecompress } from 'node:zlib'
import { failureOf } from '../../protocols/errors.ts'
import { type Done, failed, ok, type Outcome } from '../../protocols/outcome.ts'
import type { BlockWork, StoredChunk, Unpress } from '../images/block-work.ts'
import { decoding, refuseDelta } from '../images/delta.ts'
import { inWorker } from './pack-pool.ts'

export const blockWork: BlockWork = {
  unpack: (chunk, done) =>
    answer(done, async () => (await inWorker('unpack', [chunk]))[0] ?? new Uint8Array()),
  fingerprints: (chunk, done) => answer(done, () => inWorker('fingerprints', chunk)),
  seal: (id, content, done) =>
    answer(done, async () => (await inWorker('seal', { id, content }, [content.buffer as ArrayBuffer]))[0]),
  press: (pressed, done) =>
    answer(done, () => inWorker('press', pressed, [pressed.literals.buffer as ArrayBuffer])),
  unpress: (bytes, dictionary) => new Reading(bytes, dictionary),
}

function answer<T>(done: Done<T>, run: () => Promise<T>): void {
  const tell = async (): Promise<void> => {
    let outcome: Outcome<T>
    try {
      outcome = ok(await run())
    } catch (error) {
      outcome = failed(failureOf(error))
    }
    done(outcome)
  }
  void tell()
}

class Reading implements Unpress {
  readonly #bytes: number
  readonly #dictionary: readonly StoredChunk[]
  #stream: ZstdDecompress | undefined
  #read: Uint8Array[] = []
  #readBytes = 0
  #closed = false

  constructor(bytes: number, dictionary: readonly StoredChunk[]) {
    this.#bytes = bytes
    this.#dictionary = dictionary
  }

  feed(part: Uint8Array, last: boolean, done: Done<Uint8Array>): void {
    answer(
      (outcome: Outcome<Uint8Array>) => {
        if (!this.#closed) done(outcome)
      },
      async () => {
        const stream = (this.#stream ??= await this.#open())
        await passed(stream, part, last)
        const read = Buffer.concat(this.#read)
        this.#read = []
        if (last && this.#readBytes !== this.#bytes) refuseDelta()
        return read
      },
    )
  }

  close(): void {
    this.#closed = true
    this.#stream?.destroy()
  }

  async #open(): Promise<ZstdDecompress> {
    const contents = this.#dictionary.length === 0 ? [] : await inWorker('unpack', this.#dictionary)
    const stream = createZstdDecompress(decoding(this.#bytes, contents))
    // Told to whoever waits (passed); between two parts there is nobody.
    stream.on('error', () => {})
    stream.on('data', (some: Uint8Array) => {
      this.#readBytes += some.length
      // What unpacks to more is stopped here, however small it came.
      if (this.#readBytes > this.#bytes) stream.destroy()
      else this.#read.push(some)
    })
    if (this.#closed) stream.destroy()
    return stream
  }
}

/** Once all that the part unpacks to was read. */
function passed(stream: ZstdDecompress, part: Uint8Array, last: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (): void => {
      try {
        refuseDelta()
      } catch (error) {
        reject(error)
      }
    }
    if (stream.destroyed) return refuse()
    stream.once('error', refuse)
    stream.once('close', refuse)
    const over = (): void => {
      stream.off('error', refuse)
      stream.off('close', refuse)
      resolve()
    }
    if (last) {
      stream.once('end', over)
      stream.end(part)
    } else stream.write(part, (error) => (error ? refuse() : over()))
  })
}
