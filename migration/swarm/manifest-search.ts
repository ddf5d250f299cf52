/**
 * Brings a manifest here, from whoever has it.
 *
 *   asking one source ─tree─▶ receiving groups, from several ─all are here─▶ done
 *          └─ a source of the first version sends all of it as one stream ─▶ done
 *
 * One source is asked first, another when it is silent for MANIFEST_MS. The tree proves itself by the image's name, and with it
 * every group does; what came in an earlier try is there, and only the rest is asked for, of MANIFEST_SOURCES_MAX sources at once,
 * MANIFEST_GROUPS_AHEAD groups each. What a silent source owes is asked of the others. Nothing is held but a group of each.
 *
 * Promises: `found` comes once, when the manifest is on disk; a group that was verified is not asked for again, in this life or the
 * next; a source that sends what is not of the image is told of as `bad`.
 */
import { failureOf, type Failure } from '../../protocols/errors.ts'
import type { ImageId, PeerId } from '../../protocols/ids.ts'
import { MANIFEST_GROUPS_AHEAD, MANIFEST_SOURCES_MAX, NO_SOURCE_MS } from '../../protocols/limits.ts'
import type { ManifestDraft, ManifestStore } from '../../storage/images/chunk-store.ts'
import { type Manifest, sizeFault } from '../../storage/images/manifest.ts'
import { decodeGroup } from '../../storage/images/manifest-form.ts'
import {
  groupChunks,
  groupCount,
  GROUP_CHUNKS,
  isGroup,
  isTree,
  type Tree,
} from '../../storage/images/merkle.ts'
import type { ManifestHeard } from './conversation.ts'
import type { Link, Links } from './links.ts'
import { ManifestStream } from './manifest-stream.ts'

/** A source that was asked and sends nothing of it for this long is not waited for alone. */
const MANIFEST_MS = 1_000
/** The same while others send: they may share a slow link, on which each has its turn. */
const MANIFEST_TURN_MS = 5_000

type On = {
  /** It is to be asked for the manifest, this group first. */
  hello(link: Link, group: number): void
  found(manifest: Manifest): void
  bad(link: Link, why: string): void
  /** What it sends is not wanted: others send the rest. */
  useless(link: Link): void
  failed(failure: Failure): void
}

/** What is asked of one source. */
type Fetch = {
  heardMs: number
  /** It knows groups. */
  paged: boolean
  readonly asked: Set<number>
  stream: ManifestStream | undefined
}

export class ManifestSearch {
  readonly #image: ImageId
  readonly #links: Links
  readonly #manifests: ManifestStore
  readonly #on: On
  readonly #fetches = new Map<Link, Fetch>()
  /** When anything of it came last, and when somebody was asked for it. */
  #heardMs = 0
  #askedMs = 0
  #tree: Tree | undefined
  #draft: ManifestDraft | undefined
  /** Groups that are not here. */
  readonly #missing = new Set<number>()
  /** What came while the draft was being opened: a group of each source at most. */
  #early: { link: Link; group: number; encoded: Uint8Array }[] = []
  /** Sources of the first version. */
  readonly #unpaged = new Set<PeerId>()
  /** Every group is here. */
  #finishing = false
  #ended = false

  constructor(image: ImageId, links: Links, manifests: ManifestStore, on: On) {
    this.#image = image
    this.#links = links
    this.#manifests = manifests
    this.#on = on
  }

  /** Takes up what came in an earlier try, before anyone is asked. */
  resume(then: () => void): void {
    this.#manifests.pending(this.#image, (outcome) => {
      const tree = outcome.ok ? outcome.value : undefined
      if (tree === undefined || this.#ended) return then()
      this.#receive(tree, 0, then)
    })
  }

  /** Begins to be patient. */
  begin(nowMs: number): void {
    this.#heardMs = nowMs
  }

  /** A new link is asked when nobody is, or when there is work for another. */
  greet(link: Link, nowMs: number): void {
    if (this.#ended) return
    const asked = this.#links.open().filter(({ manifest }) => manifest)
    if (asked.length === 0 || (this.#hasWork(asked.length, nowMs) && !this.#streams(link)))
      this.#ask(link, nowMs)
  }

  /** False once nobody has sent any of it for NO_SOURCE_MS. */
  tick(nowMs: number): boolean {
    if (this.#ended) return true
    const open = this.#links.open()
    const asked = open.filter(({ manifest }) => manifest)
    const idle = open.find(
      (link) => !link.manifest && !link.unknown && (asked.length === 0 || !this.#streams(link)),
    )
    const silentMs = nowMs - Math.max(this.#heardMs, this.#askedMs)
    const isNeeded = asked.length === 0 || silentMs > MANIFEST_MS || this.#hasWork(asked.length, nowMs)
    if (idle !== undefined && isNeeded) this.#ask(idle, nowMs)
    for (const link of asked) this.#fill(link, nowMs)
    return nowMs - this.#heardMs < NO_SOURCE_MS
  }

  heard(link: Link, heard: ManifestHeard, nowMs: number): void {
    if (this.#ended) return
    this.#heardMs = nowMs
    const fetch = this.#fetchOf(link, nowMs)
    fetch.heardMs = nowMs
    switch (heard.kind) {
      case 'tree':
        fetch.paged = true
        return this.#rooted(link, { image: this.#image, ...heard }, nowMs)
      case 'group':
        return this.#grouped(link, heard.group, heard.encoded, nowMs)
      case 'group-part':
        return
      case 'manifest-part':
        this.#unpaged.add(link.peer)
        if (this.#tree !== undefined && this.#links.open().some((other) => other !== link && other.manifest))
          return this.#on.useless(link)
        fetch.stream ??= new ManifestStream(this.#image, this.#manifests, {
          ended: (manifest) => this.#end(manifest),
          failed: (failure) => this.#fail(failure),
          bad: (why) => this.#on.bad(link, why),
        })
        return fetch.stream.push(heard.data, heard.at + heard.data.length === heard.total)
    }
  }

  lost(link: Link): void {
    this.#fetches.get(link)?.stream?.stop()
    this.#fetches.delete(link)
    this.#early = this.#early.filter((early) => early.link !== link)
  }

  stop(): void {
    this.#ended = true
    for (const { stream } of this.#fetches.values()) stream?.stop()
    this.#fetches.clear()
    this.#early = []
    this.#draft?.drop()
    this.#draft = undefined
  }

  // Asking ---------------------------------------------------------------------------------------------------------

  #ask(link: Link, nowMs: number): void {
    const fetch = this.#fetchOf(link, nowMs)
    fetch.heardMs = nowMs
    link.manifest = true
    link.helloMs = nowMs
    this.#askedMs = nowMs
    // Before the tree is here nobody knows how many there are; the first always is.
    const group = this.#next(nowMs) ?? 0
    fetch.asked.add(group)
    this.#on.hello(link, group)
  }

  #fill(link: Link, nowMs: number): void {
    const fetch = this.#fetches.get(link)
    if (fetch?.paged !== true || this.#draft === undefined) return
    if (fetch.asked.size > 0 && !this.#isLive(fetch, nowMs)) return
    // Its silence begins when it owes something.
    if (fetch.asked.size === 0) fetch.heardMs = nowMs
    const groups: number[] = []
    while (fetch.asked.size < MANIFEST_GROUPS_AHEAD) {
      const group = this.#next(nowMs)
      if (group === undefined) break
      fetch.asked.add(group)
      groups.push(group)
    }
    if (groups.length > 0) link.conversation?.groups(groups)
  }

  /** A group that nobody is asked for who is not silent. */
  #next(nowMs: number): number | undefined {
    const live = [...this.#fetches.values()].filter((fetch) => this.#isLive(fetch, nowMs))
    for (const group of this.#missing) if (!live.some(({ asked }) => asked.has(group))) return group
    return undefined
  }

  #isLive({ heardMs }: Fetch, nowMs: number): boolean {
    const isQuiet = nowMs - this.#heardMs > MANIFEST_MS
    return nowMs - heardMs <= (isQuiet ? MANIFEST_MS : MANIFEST_TURN_MS)
  }

  /** It would send all of it, when a part is wanted. */
  #streams({ peer }: Link): boolean {
    return this.#tree !== undefined && this.#unpaged.has(peer)
  }

  #hasWork(asked: number, nowMs: number): boolean {
    return asked < MANIFEST_SOURCES_MAX && this.#next(nowMs) !== undefined
  }

  #fetchOf(link: Link, nowMs: number): Fetch {
    let fetch = this.#fetches.get(link)
    if (fetch === undefined)
      this.#fetches.set(link, (fetch = { heardMs: nowMs, paged: false, asked: new Set(), stream: undefined }))
    return fetch
  }

  // Hearing --------------------------------------------------------------------------------------------------------

  #rooted(link: Link, tree: Tree, nowMs: number): void {
    if (sizeFault(tree) !== undefined || !isTree(tree)) return this.#on.bad(link, 'a tree of another image')
    if (this.#tree === undefined) this.#receive(tree, nowMs)
    else this.#fill(link, nowMs)
  }

  #receive(tree: Tree, nowMs: number, then: () => void = () => {}): void {
    this.#tree = tree
    this.#manifests.receive(tree, (outcome) => {
      if (this.#ended) return outcome.ok ? outcome.value.draft.drop() : undefined
      if (!outcome.ok) return this.#fail(outcome.failure)
      this.#draft = outcome.value.draft
      for (const group of outcome.value.missing) this.#missing.add(group)
      if (this.#missing.size === 0) return this.#finish()
      for (const { link, group, encoded } of this.#early.splice(0)) this.#grouped(link, group, encoded, nowMs)
      for (const open of this.#links.open()) this.#fill(open, nowMs)
      then()
    })
  }

  #grouped(link: Link, group: number, encoded: Uint8Array, nowMs: number): void {
    const tree = this.#tree
    if (tree === undefined || group >= groupCount(tree)) return this.#on.bad(link, 'a group out of turn')
    if (this.#finishing) return
    if (this.#draft === undefined) {
      if (this.#early.some((early) => early.link === link))
        return this.#on.bad(link, 'groups that nobody asked for')
      this.#early.push({ link, group, encoded })
      return
    }
    this.#fetches.get(link)?.asked.delete(group)
    if (this.#missing.has(group)) {
      const hashes = decoded(encoded, groupChunks(tree, group))
      if (hashes === undefined || !isGroup(tree, group, hashes))
        return this.#on.bad(link, `hashes that are not of the image, in group ${group}`)
      try {
        this.#draft.set(group * GROUP_CHUNKS, hashes)
      } catch (error) {
        return this.#fail(failureOf(error))
      }
      this.#missing.delete(group)
      if (this.#missing.size === 0) return this.#finish()
    }
    this.#fill(link, nowMs)
  }

  #finish(): void {
    const draft = this.#draft
    if (draft === undefined || this.#ended) return
    this.#finishing = true
    this.#draft = undefined
    draft.finish((outcome) => {
      if (this.#ended) return
      if (outcome.ok) this.#end(outcome.value)
      else this.#fail(outcome.failure)
    })
  }

  #end(manifest: Manifest): void {
    if (this.#ended) return
    this.stop()
    this.#on.found(manifest)
  }

  #fail(failure: Failure): void {
    if (this.#ended) return
    this.stop()
    this.#on.failed(failure)
  }
}

function decoded(encoded: Uint8Array, chunks: number): Uint8Array | undefined {
  try {
    return decodeGroup(encoded, chunks)
  } catch {
    return undefined
  }
}
