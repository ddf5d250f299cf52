/** Who is asked for the manifest: one source at a time, because that of a large image is not fetched from all of them. */
import type { ImageId } from '../../protocols/ids.ts'
import { NO_SOURCE_MS } from '../../protocols/limits.ts'
import type { Link, Links } from './links.ts'

/** A source that was asked and sends nothing of it for this long is not waited for alone. */
const MANIFEST_MS = 1_000

export class ManifestSearch {
  readonly #image: ImageId
  readonly #links: Links
  readonly #blocks: boolean
  /** When anything of it came last, and when somebody was asked for it. */
  #heardMs = 0
  #askedMs = 0

  /** `blocks`: this peer speaks of blocks. */
  constructor(image: ImageId, links: Links, blocks: boolean) {
    this.#image = image
    this.#links = links
    this.#blocks = blocks
  }

  /** Begins to be patient, or has reason to stay so: a part of it came. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs
  }

  /** A new link is asked when nobody is. */
  greet(link: Link, nowMs: number): void {
    if (!this.#links.open().some(({ manifest }) => manifest)) this.#ask(link, nowMs)
  }

  /** False once nobody has sent any of it for NO_SOURCE_MS. */
  tick(nowMs: number): boolean {
    const open = this.#links.open()
    const asked = open.some(({ manifest }) => manifest)
    const idle = open.find(({ manifest, unknown }) => !manifest && !unknown)
    const silentMs = nowMs - Math.max(this.#heardMs, this.#askedMs)
    if (idle !== undefined && (!asked || silentMs > MANIFEST_MS)) this.#ask(idle, nowMs)
    return nowMs - this.#heardMs < NO_SOURCE_MS
  }

  #ask(link: Link, nowMs: number): void {
    link.manifest = true
    link.helloMs = nowMs
    this.#askedMs = nowMs
    link.conversation?.hello(this.#image, true, this.#blocks)
  }
}
