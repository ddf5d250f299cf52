/**
 * Images published for BitTorrent clients: what an operator asked for is written down, and served for as long as this peer
 * runs, on the address that was named, until it is taken back.
 *
 *   publish: pulled whole ─▶ hashed ─▶ .torrent kept and written ─▶ served ─▶ recorded
 *   at a start: recorded ─▶ .torrent read ─▶ served, tried again every REPUBLISH_MS while the address cannot be had
 *
 * Invariants: what is recorded has its .torrent on disk; nothing listens that no record names. Nobody is told of it but the
 * trackers that were named.
 */
import type { Failure } from '../protocols/errors.ts'
import { describeFailure } from '../protocols/errors.ts'
import type { ImageId } from '../protocols/ids.ts'
import { PUBLICATIONS_MAX, REPUBLISH_MS } from '../protocols/limits.ts'
import { type Done, failed, ok } from '../protocols/outcome.ts'
import { type Gateway, parseListen, type Served } from '../migration/torrent/gateway.ts'
import { buildMetainfo, parseMetainfo, pieceBytesFor } from '../migration/torrent/metainfo.ts'
import type { ManifestStore } from '../storage/images/chunk-store.ts'
import type { Manifest } from '../storage/images/manifest.ts'
import type { Journal } from '../storage/journal.ts'
import { key } from '../storage/keyspace.ts'
import { type Publication, publication } from '../storage/records.ts'
import type { Store } from '../storage/store.ts'
import type { Clock } from '../protocols/clock.ts'
import { Timers } from './timers.ts'

type Ports = {
  readonly clock: Clock
  readonly gateway: Gateway
  readonly manifests: Pick<ManifestStore, 'get'>
  readonly store: Store
  readonly journal: Pick<Journal, 'append'>
}

type Use = (image: ImageId) => { release(): void }

export type PublishTerms = {
  /** Of the file in the torrent. */
  readonly name: string
  /** `ADDRESS:PORT`; empty: where this peer publishes by default. */
  readonly listen: string
  readonly trackers: readonly string[]
  readonly private: boolean
  /** Where the .torrent is written. */
  readonly path: string
}

export type PublishedNow = Publication & Pick<Served, 'address' | 'peers' | 'uploadedBytes'>

export class Publishing {
  readonly #ports: Ports
  readonly #listen: string
  readonly #timers: Timers
  readonly #all = new Map<string, Publication>()
  readonly #use: Use
  readonly #uses = new Map<string, { release(): void }>()
  #stopped = false

  /** `listen`: the address where nothing else is said; empty: there is none. `use` keeps an image on this peer. */
  constructor(ports: Ports, listen: string, use: Use) {
    this.#ports = ports
    this.#listen = listen
    this.#use = use
    this.#timers = new Timers(ports.clock)
    for (const [, value] of ports.store.recovered(key('publication'))) {
      const found = publication.decode(value)
      this.#all.set(found.infoHash, found)
    }
  }

  start(): void {
    for (const each of this.#all.values()) {
      this.#uses.set(each.infoHash, this.#use(each.image))
      this.#resume(each)
    }
  }

  stop(): void {
    this.#stopped = true
    this.#timers.stop()
  }

  /** The address to publish on, or why there is none. */
  address(typed: string): { readonly listen: string } | Failure {
    const listen = typed === '' ? this.#listen : typed
    if (listen === '')
      return {
        code: 'USAGE',
        why: 'it has to be said on which address of this host others find it',
        next: 'add --listen ADDRESS:PORT, or set torrent.listen in the configuration',
      }
    if (parseListen(listen) === undefined)
      return { code: 'USAGE', why: `${listen} is no ADDRESS:PORT: an IP address has to be named` }
    return this.#all.size < PUBLICATIONS_MAX
      ? { listen }
      : { code: 'PEER_BUSY', peer: 'this peer', what: `${PUBLICATIONS_MAX} images are published` }
  }

  /** Of an image that is whole here. */
  publish(
    manifest: Manifest,
    terms: PublishTerms,
    onProgress: (doneBytes: number, totalBytes: number) => void,
    done: Done<PublishedNow>,
  ): { cancel(): void } {
    const address = this.address(terms.listen)
    if (!('listen' in address)) {
      done(failed(address))
      return { cancel: () => {} }
    }
    const pieceBytes = Math.max(pieceBytesFor(manifest.bytes), manifest.chunkBytes)
    return this.#ports.gateway.hash(manifest, pieceBytes, onProgress, (hashed) => {
      if (!hashed.ok) return done(hashed)
      const { bytes, image } = manifest
      const torrent = buildMetainfo({ ...terms, bytes, pieceBytes, pieces: hashed.value })
      const { infoHash } = parseMetainfo(torrent)
      const { trackers, private: isPrivate } = terms
      const record = { image, infoHash, listen: address.listen, trackers: [...trackers], private: isPrivate }
      this.#ports.gateway.keep(infoHash, torrent, terms.path, (kept) => {
        if (!kept.ok) return done(kept)
        this.#serve(manifest, torrent, record, (served) => {
          if (!served.ok) return done(served)
          this.#record(record, (recorded) => {
            if (!recorded.ok) return done(recorded)
            this.#note(image, `is published on ${served.value.address}`)
            done(ok({ ...record, address: served.value.address, peers: 0, uploadedBytes: 0 }))
          })
        })
      })
    })
  }

  /** All publications of an image; how many there were. */
  unpublish(image: ImageId, done: Done<number>): void {
    const mine = [...this.#all.values()].filter((each) => each.image === image)
    const next = (index: number): void => {
      const each = mine[index]
      if (each === undefined) return done(ok(mine.length))
      const { infoHash } = each
      const { gateway, store } = this.#ports
      // First what would publish it again after a crash.
      store.write([{ kind: 'del', key: key('publication', infoHash) }], true, (written) => {
        if (!written.ok) return done(written)
        this.#all.delete(infoHash)
        this.#uses.get(infoHash)?.release()
        this.#uses.delete(infoHash)
        gateway.unserve(infoHash, (ended) => {
          if (!ended.ok) return done(ended)
          this.#note(image, 'is not published any more')
          gateway.forget(infoHash, () => next(index + 1))
        })
      })
    }
    next(0)
  }

  list(done: Done<PublishedNow[]>): void {
    if (this.#all.size === 0) return done(ok([]))
    this.#ports.gateway.served((served) => {
      const now = served.ok ? served.value : []
      const of = (each: Publication): PublishedNow => {
        const found = now.find(({ infoHash }) => infoHash === each.infoHash)
        const { address = '', peers = 0, uploadedBytes = 0 } = found ?? {}
        return { ...each, address, peers, uploadedBytes }
      }
      done(ok([...this.#all.values()].map(of)))
    })
  }

  /** What was served before under the same hash gives way: its address may be another now. */
  #serve(
    manifest: Manifest,
    torrent: Uint8Array,
    { infoHash, listen }: Publication,
    done: Done<{ address: string }>,
  ) {
    const { gateway } = this.#ports
    const where = parseListen(listen)
    if (where === undefined) return done(failed({ code: 'USAGE', why: `${listen} is no ADDRESS:PORT` }))
    gateway.unserve(infoHash, () => gateway.serve({ manifest, torrent, listen: where }, done))
  }

  #record(record: Publication, done: Done<void>): void {
    const op = {
      kind: 'put',
      key: key('publication', record.infoHash),
      value: publication.encode(record),
    } as const
    this.#ports.store.write([op], true, (written) => {
      if (written.ok) {
        const { image, infoHash } = record
        this.#all.set(infoHash, record)
        if (!this.#uses.has(infoHash)) this.#uses.set(infoHash, this.#use(image))
      }
      done(written)
    })
  }

  #resume(each: Publication): void {
    const { gateway, manifests } = this.#ports
    const again = (failure: Failure): void => {
      if (this.#stopped) return
      this.#note(each.image, `cannot be published on ${each.listen} now: ${describeFailure(failure)}`)
      this.#timers.after(REPUBLISH_MS, () => this.#resume(each))
    }
    if (this.#stopped || this.#all.get(each.infoHash) !== each) return
    manifests.get(each.image, (manifest) => {
      if (!manifest.ok) return again(manifest.failure)
      gateway.kept(each.infoHash, (torrent) => {
        if (!torrent.ok) return again(torrent.failure)
        if (this.#stopped || this.#all.get(each.infoHash) !== each) return
        this.#serve(manifest.value, torrent.value, each, (served) => {
          if (!served.ok) again(served.failure)
        })
      })
    })
  }

  #note(image: ImageId, text: string): void {
    this.#ports.journal.append({
      atMs: this.#ports.clock.wallMs(),
      kind: 'publish',
      subject: image,
      text: `the image ${text}`,
    })
  }
}
