/** A manifest that comes as one stream, from a source of the first version: into a draft as it comes, proven at its end. */
import { failureOf, type Failure } from '../../protocols/errors.ts'
import type { ImageId } from '../../protocols/ids.ts'
import type { ManifestDraft, ManifestStore } from '../../storage/images/chunk-store.ts'
import type { Manifest } from '../../storage/images/manifest.ts'
import { decodeHead, HEAD_BYTES, RunsDecoder } from '../../storage/images/manifest-form.ts'
import { chunkCount } from '../../storage/images/merkle.ts'

type On = {
  ended(manifest: Manifest): void
  bad(why: string): void
  failed(failure: Failure): void
}

/** Bytes that may wait for the draft to be opened. */
const EARLY_BYTES_MAX = 64 * 1024 * 1024
const BAD = 'a manifest that is not what its name says'

export class ManifestStream {
  readonly #image: ImageId
  readonly #manifests: ManifestStore
  readonly #on: On
  #early: Buffer = Buffer.alloc(0)
  #state: 'head' | 'opening' | 'open' | 'ended' = 'head'
  #draft: ManifestDraft | undefined
  #decoder: RunsDecoder | undefined
  #last = false

  constructor(image: ImageId, manifests: ManifestStore, on: On) {
    this.#image = image
    this.#manifests = manifests
    this.#on = on
  }

  push(data: Uint8Array, last: boolean): void {
    if (this.#state === 'ended') return
    this.#last = last
    try {
      if (this.#state === 'open') return this.#take(data)
      this.#early = Buffer.concat([this.#early, data])
      if (this.#early.length > EARLY_BYTES_MAX) return this.#bad('more than was waited for')
      if (this.#state === 'head' && this.#early.length >= HEAD_BYTES) this.#open()
      else if (last && this.#state === 'head') this.#bad(BAD)
    } catch (error) {
      this.#caught(error)
    }
  }

  stop(): void {
    this.#state = 'ended'
    this.#draft?.drop()
    this.#draft = undefined
  }

  #open(): void {
    const size = decodeHead(this.#early)
    this.#state = 'opening'
    this.#manifests.begin(size, this.#image, (outcome) => {
      if (this.#state === 'ended') return outcome.ok ? outcome.value.drop() : undefined
      if (!outcome.ok) return this.#fail(outcome.failure)
      const draft = outcome.value
      this.#draft = draft
      this.#state = 'open'
      this.#decoder = new RunsDecoder(chunkCount(size), (index, hashes) => draft.set(index, hashes))
      const early = this.#early.subarray(HEAD_BYTES)
      this.#early = Buffer.alloc(0)
      try {
        this.#take(early)
      } catch (error) {
        this.#caught(error)
      }
    })
  }

  #take(data: Uint8Array): void {
    this.#decoder?.push(data)
    if (!this.#last) return
    this.#decoder?.end()
    const draft = this.#draft
    this.#draft = undefined
    this.#state = 'ended'
    draft?.finish((outcome) => {
      if (outcome.ok) this.#on.ended(outcome.value)
      else if (outcome.failure.code === 'IMAGE_INVALID') this.#on.bad(BAD)
      else this.#on.failed(outcome.failure)
    })
  }

  #caught(error: unknown): void {
    const failure = failureOf(error)
    if (failure.code === 'IMAGE_INVALID') this.#bad(BAD)
    else this.#fail(failure)
  }

  #bad(why: string): void {
    this.stop()
    this.#on.bad(why)
  }

  #fail(failure: Failure): void {
    this.stop()
    this.#on.failed(failure)
  }
}
