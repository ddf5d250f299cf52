/**
 * One simulated host: what lies on its disks and outlives its peer, and the peer that runs on it, if one does. The peer
 * is the product's own: `composeNode(config, ports)`, on twins.
 */
import { wallTimeIn } from '../node/wall-time.ts'
import type { OutsidePort } from '../node/binding/binding.ts'
import type { Outside } from '../node/binding/judge.ts'
import { replacement } from '../node/binding/replacing.ts'
import type { Node } from '../node/compose.ts'
import { composeNode } from '../node/compose.ts'
import type { Ports } from '../node/context.ts'
import type { ImageFiles } from '../node/image-files.ts'
import { meshIn, remainsIn, successor } from '../node/recovering.ts'
import type { HostFacts } from '../node/telemetry/host-facts.ts'
import { printGeneration } from '../protocols/epoch.ts'
import { ok } from '../protocols/outcome.ts'
import { key } from '../storage/keyspace.ts'
import { bindingIn, type Facts, type Identity, knownPeer, type Position } from '../storage/records.ts'
import type { Op } from '../storage/store.ts'
import { SimChunkStore, SimManifestStore } from './chunk-store.ts'
import { SimDisks } from './disks.ts'
import type { SimGuestImage } from './guest.ts'
import { SimHypervisor } from './hypervisor.ts'
import { SimJournal } from './journal.ts'
import type { Life } from './life.ts'
import type { SimNetwork, SimPeer } from './network.ts'
import { SimStore } from './store.ts'
import { nothingOutside } from './outside.ts'
import type { World } from './world.ts'

/** A small file, written and synced. */
const MARK_MS = 3

export type HostTerms = {
  readonly id: string
  readonly name: string
  readonly site: string
  readonly cpus: number
  readonly memoryMiB: number
  readonly diskBytes: number
  readonly noVote?: boolean
  readonly uplink?: string
}

export class SimHost {
  readonly terms: HostTerms
  /** Set once init or join has bound it to a mesh. */
  identity: Identity | undefined
  node: Node | undefined
  peer: SimPeer | undefined
  hypervisor: SimHypervisor
  store: SimStore
  chunks: SimChunkStore
  manifests: SimManifestStore
  disks: SimDisks
  /** What `raft snapshot save` wrote here, by path. */
  readonly snapshots = new Map<string, Uint8Array>()
  readonly #world: World
  readonly #network: SimNetwork
  /** Image files on this host's file system, by path. */
  readonly #images: ReadonlyMap<string, SimGuestImage>
  #journal: SimJournal
  #mark: Position | undefined
  #boots = 1

  constructor(
    world: World,
    network: SimNetwork,
    terms: HostTerms,
    images: ReadonlyMap<string, SimGuestImage>,
  ) {
    this.#world = world
    this.#network = network
    this.#images = images
    this.terms = terms
    this.store = new SimStore(world, terms.name)
    this.chunks = new SimChunkStore(world, terms.name)
    this.manifests = new SimManifestStore(world, terms.name)
    this.disks = new SimDisks(world, { chunks: this.chunks, manifests: this.manifests })
    this.hypervisor = new SimHypervisor(world, terms.name, this.disks)
    this.#journal = new SimJournal(world, terms.name)
  }

  get running(): boolean {
    return this.node !== undefined
  }

  /** Starts the peer: the first time, or again on what its last life left. */
  start(done: () => void = () => {}): void {
    if (this.node !== undefined || this.identity === undefined) return
    const { cpus, memoryMiB, diskBytes } = this.terms
    this.#world.say(`host ${this.terms.name} starts its peer`)
    this.node = composeNode(
      {
        identity: this.identity,
        version: 'sim',
        labels: {},
        raft: { noVote: this.terms.noVote ?? false, uplink: this.terms.uplink ?? '' },
        limits: { rules: [], wallTime: wallTimeIn('UTC') },
        capacity: { cpus, memoryMiB, diskBytes },
        torrentListen: '',
        http: '',
      },
      this.#ports(),
    )
    this.node.start(done)
  }

  /** Joins the network without a node: what a stranger does before it is admitted. */
  plug(): SimPeer {
    this.peer ??= this.#network.join(this.terms.id, this.terms.site)
    return this.peer
  }

  /**
   * What `init` and `join` write down: where the peers of the mesh were when this one was admitted, and the `first` records
   * of the groups that it founds.
   */
  remember(
    peers: readonly { readonly id: string; readonly addresses: readonly string[] }[],
    first: readonly Op[],
  ): void {
    const records = [
      ...peers.map(
        ({ id, addresses }) =>
          [key('peer', id), knownPeer.encode({ id, addresses: [...addresses] })] as const,
      ),
      ...first.flatMap((op) => (op.kind === 'put' ? [[op.key, op.value] as const] : [])),
    ]
    this.store = new SimStore(this.#world, this.terms.name, new Map(records))
  }

  /** kill -9 of the peer: guests go on under their keepers, what was written stays. */
  kill(): void {
    if (this.node === undefined) return
    this.#world.say(`host ${this.terms.name}: its peer is killed`)
    this.#end('killed')
    this.store = this.store.reopen()
    this.chunks = this.chunks.reopen()
    this.manifests = this.manifests.reopen()
    this.#journal = this.#journal.reopen()
    this.#reopenGuests('killed')
  }

  /** As on SIGTERM: the peer hands over and ends; guests go on, and everything it had is on disk. */
  stop(done: () => void): void {
    const { node } = this
    if (node === undefined) return done()
    this.#world.say(`host ${this.terms.name}: its peer is told to stop`)
    node.stop(() => {
      if (this.node === node) this.kill()
      done()
    })
  }

  /** `raft recover` of a group, on the folder of a peer that does not run: a new generation of what it has. */
  recover(group: string, done: () => void): void {
    const { identity } = this
    const remains = identity === undefined ? undefined : remainsIn(this.store, group)
    if (this.node !== undefined || identity === undefined || remains === undefined)
      throw new Error(`${this.terms.name} cannot recover ${group}`)
    const around = { mesh: meshIn(this.store), floor: 0, kind: 'recover', wallMs: 1_800_000_000_000 }
    const dice = this.#world.random(`recover ${this.terms.name} ${group}`)
    const { ops, generation } = successor(this.store, group, identity, remains, around, dice)
    this.#world.say(`host ${this.terms.name} recovers ${group}: generation ${printGeneration(generation)}`)
    this.store.write(ops, true, () => {
      this.store = this.store.reopen()
      done()
    })
  }

  /** A backup of what lies in this host's store, as a snapshot of its file system takes it. */
  backup(): ReadonlyMap<string, Uint8Array> {
    return new Map(this.store.whatACrashLeaves().recovered(''))
  }

  /** Whether the mark outside has been raised since the backup was made: it is written a little behind what it stands for. */
  isOutdated(backup: ReadonlyMap<string, Uint8Array>): boolean {
    const recovered = (prefix: string): [string, Uint8Array][] =>
      [...backup].filter(([key]) => key.startsWith(prefix))
    return (bindingIn({ recovered })?.counter ?? 0) < (this.#mark?.counter ?? 0)
  }

  /** Puts it back under a peer that does not run; the mark outside stays as it is. */
  restore(backup: ReadonlyMap<string, Uint8Array>): void {
    if (this.node !== undefined) throw new Error(`${this.terms.name} runs`)
    this.#world.say(`host ${this.terms.name}: its store is put back`)
    this.store = new SimStore(this.#world, this.terms.name, backup)
  }

  /** `peer replace`, on the folder of a peer that does not run. */
  replace(done: () => void): void {
    const { identity } = this
    if (this.node !== undefined || identity === undefined) throw new Error(`${this.terms.name} runs`)
    const terms = { outside: this.#found(), facts: this.#liesOn(), wallMs: 1_800_000_000_000 }
    const dice = this.#world.random(`replace ${this.terms.name} ${this.#world.nowMs}`)
    const { ops, replacement: made } = replacement(this.store, identity, terms, dice)
    this.#world.say(`host ${this.terms.name} is replaced: incarnation ${made.incarnation}`)
    this.store.write(ops, true, () => {
      this.store = this.store.reopen()
      done()
    })
  }

  /** The host loses power: guests are gone, and so is what was not synced. */
  cutPower(): void {
    this.#world.say(`host ${this.terms.name} loses power`)
    this.#end('power')
    this.#boots++
    this.store.crash()
    this.chunks.crash()
    this.manifests.crash()
    this.#journal.crash()
    this.store = this.store.reopen()
    this.chunks = this.chunks.reopen()
    this.manifests = this.manifests.reopen()
    this.#journal = this.#journal.reopen()
    this.#reopenGuests('power')
  }

  #end(how: 'killed' | 'power'): void {
    this.#network.crash(this.terms.id, how)
    this.node = undefined
    this.peer = undefined
  }

  #reopenGuests(how: 'killed' | 'power'): void {
    if (how === 'power') this.hypervisor.powerCut()
    else this.hypervisor.crash()
    this.disks = new SimDisks(this.#world, { chunks: this.chunks, manifests: this.manifests }, this.disks)
    this.hypervisor = new SimHypervisor(this.#world, this.terms.name, this.disks, { found: this.hypervisor })
  }

  #ports(): Ports {
    const { life, transport, broadcast, directory, door } = this.plug()
    const dice = this.#world.random(`peer ${this.terms.name} ${this.#boots} ${this.#world.nowMs}`)
    return {
      clock: life.clock,
      dice,
      boot: `${this.terms.name}-boot-${this.#boots}`,
      transport,
      broadcast,
      directory,
      door,
      store: this.store,
      outside: this.#outside(life),
      chunks: this.chunks,
      manifests: this.manifests,
      journal: this.#journal,
      hypervisor: this.hypervisor,
      disks: this.disks,
      images: this.#imageFiles(),
      gateway: nothingOutside(this.#world),
      snapshots: {
        save: (path, bytes, done) => {
          this.snapshots.set(path, bytes)
          this.#world.after(1, () => done(ok(undefined)))
        },
      },
      host: this.#facts(),
      vitals: () => ({
        residentBytes: 0,
        cpuSeconds: 0,
        startSeconds: 0,
        loopDelaySeconds: { mean: 0, p99: 0, max: 0 },
      }),
      secrets: {
        make: () => Uint8Array.from({ length: 32 }, () => dice.below(256)),
        hash: (secret) => Buffer.from(secret).toString('hex'),
      },
    }
  }

  #found(): Outside {
    return this.#mark === undefined ? { kind: 'none' } : { kind: 'mark', mark: this.#mark }
  }

  #liesOn(): Facts {
    return { machine: this.terms.name, product: '', fileSystem: '', folder: '' }
  }

  /** A disk of its own, which nothing that befalls the store's does anything to. */
  #outside(life: Life): OutsidePort {
    return {
      found: this.#found(),
      facts: this.#liesOn(),
      write: (mark, done) => {
        this.#world.after(MARK_MS, () => {
          if (!life.alive) return
          this.#mark = mark
          life.run(() => done(ok(undefined)))
        })
      },
    }
  }

  #imageFiles(): ImageFiles {
    return {
      import: (path, _format, onProgress, done) => {
        const image = this.#images.get(path)
        if (image === undefined) {
          this.#world.after(1, () =>
            done({ ok: false, failure: { code: 'IMAGE_INVALID', path, why: 'no such file' } }),
          )
          return { cancel: () => {} }
        }
        const { manifest, frames } = image
        const left = [...frames]
        const next = (): void => {
          const [entry] = left.splice(0, 1)
          if (entry !== undefined) return this.chunks.write(entry[0], entry[1], manifest.chunkBytes, next)
          onProgress(manifest.bytes, manifest.bytes)
          const dataBytes = frames.size * manifest.chunkBytes
          this.manifests.put(manifest, (put) =>
            done(put.ok ? ok({ manifest, dataBytes, newBytes: dataBytes }) : put),
          )
        }
        next()
        return { cancel: () => left.splice(0) }
      },
      export: (_manifest, _path, done) => this.#world.after(1, () => done(ok(undefined))),
      verify: (_manifest, _onProgress, done) =>
        this.#world.after(1, () => done(ok({ missing: 0, corrupt: 0 }))),
    }
  }

  #facts(): HostFacts {
    const { cpus, memoryMiB, diskBytes } = this.terms
    const idle = {
      cpus,
      cpuLoad: 0,
      loadAverage: [0, 0, 0],
      memoryTotalBytes: memoryMiB * 1024 ** 2,
      memoryUsedBytes: 0,
      diskTotalBytes: diskBytes,
      diskFreeBytes: diskBytes,
      receivedBytes: 0,
      sentBytes: 0,
      bootMs: 0,
    }
    return {
      sample: () => idle,
      disk: () => ({ totalBytes: diskBytes, freeBytes: Math.max(0, diskBytes - this.chunks.bytes()) }),
      power: () => 'mains',
      capacity: () => ({ cpus, memoryMiB, diskBytes }),
    }
  }
}
