/**
 * The disks of this host's VMs (port Disks): qcow2 overlays, each on a raw base that is materialised once for its image.
 *
 *   bases/<image>.raw          whole or not there; goes when the last overlay on it goes
 *   vms/<vm>/disk<n>.qcow2     the overlays of a VM, with disks.json; the folder is whole or not there
 *   kept/<vm>.<label>/         what was set aside, in the same form; its disks.json says when, and what it is the same as
 */
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join, resolve as absolute } from 'node:path'
import { z } from 'zod'
import { GodwitError } from '../../protocols/errors.ts'
import type { ImageId, VmId } from '../../protocols/ids.ts'
import { DISKS_MAX } from '../../protocols/limits.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { PARTIAL, syncFolder, writeWhole } from '../../storage/files/durable.ts'
import { materialise } from '../../storage/files/export.ts'
import { ingestRanges, type Ingested, type Stores } from '../../storage/files/ingest.ts'
import { asked } from '../../storage/images/asked.ts'
import type { Extents } from '../../storage/images/image-reader.ts'
import type { Manifest } from '../../storage/images/manifest.ts'
import type { CapturedDisk, DiskHandle, Disks, DiskSource, KeepingTerms, KeptCopy } from '../hypervisor.ts'
import { answer } from './answer.ts'
import { openExport } from './nbd.ts'
import { complaint, run } from './tools.ts'

const SECTOR_BYTES = 512
/** What `stat` counts in, whatever the file system's own blocks are. */
const BLOCK_BYTES = 512
/** `qemu-img create` writes some KiB. */
const CREATE_MS = 30_000

/** Which file of the chain holds a part of the disk: 0 none, 1 the overlay, 2 its base. */
const DEPTH = 'qemu:allocation-depth'
const IN_OVERLAY = 1

const sidecarSchema = z.object({
  version: z.literal(1),
  disks: z.array(z.object({ image: z.string(), bytes: z.int().min(1) })).max(DISKS_MAX),
  /** Written right before they are set aside; of no meaning until they are. Older versions wrote none. */
  kept: z.object({ atMs: z.number().min(0), content: z.array(z.string()).max(DISKS_MAX) }).optional(),
})

type Sidecar = z.infer<typeof sidecarSchema>
type Prepared = Sidecar['disks']
type Kept = { readonly disks: Prepared; readonly terms: KeepingTerms }

export type DisksOptions = {
  readonly folder: string
} & Stores

export async function openDisks({ folder, ...stores }: DisksOptions): Promise<Disks> {
  const places = { bases: join(folder, 'bases'), vms: join(folder, 'vms'), kept: join(folder, 'kept') }
  for (const place of Object.values(places)) await mkdir(place, { recursive: true, mode: 0o700 })
  const shelf = new Shelf(places, stores)
  await shelf.recover()
  return {
    prepare: (vm, disks, done) =>
      answer(
        shelf.inTurn(() => shelf.prepare(vm, disks)),
        done,
      ),
    has: (vm) => shelf.vms.has(vm),
    // Reading a stopped VM's disks takes nothing from the others.
    capture: (vm, done) => answer(shelf.capture(vm), done),
    setAside: (vm, label, terms, done) =>
      answer(
        shelf.inTurn(() => shelf.setAside(vm, label, terms)),
        done,
      ),
    kept: () => shelf.list(),
    weigh: (kept, done) => answer(shelf.weigh(kept), done),
    drop: (kept, done) =>
      answer(
        shelf.inTurn(() => shelf.drop(kept)),
        done,
      ),
    remove: (vm, done) =>
      answer(
        shelf.inTurn(() => shelf.remove(vm)),
        done,
      ),
  }
}

type Places = { readonly bases: string; readonly vms: string; readonly kept: string }
class Shelf {
  readonly vms = new Map<VmId, Prepared>()
  readonly #kept = new Map<string, Kept>()
  readonly #places: Places
  readonly #stores: Stores
  #turn: Promise<unknown> = Promise.resolve()
  /** Folders that cannot be read may hold overlays on any base: then none is dropped. */
  #unread = false

  constructor(places: Places, stores: Stores) {
    this.#places = places
    this.#stores = stores
  }

  /**
   * Changes come one after the other: a base is never dropped while an overlay is made on it. Materialising a base is
   * most of their cost, and two of them at once would only share the disk.
   */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work)
    this.#turn = mine.catch(() => {})
    return mine
  }

  /** Reads what an earlier life left, and clears away what it did not finish. */
  async recover(): Promise<void> {
    for (const place of Object.values(this.#places))
      for (const name of await readdir(place))
        if (name.includes(PARTIAL)) await rm(join(place, name), { recursive: true, force: true })
    await this.#read(this.#places.vms, async (name, { disks }) => void this.vms.set(name, disks))
    await this.#read(this.#places.kept, async (name, { disks, kept }) => {
      // What an older version set aside does not say when it was.
      const atMs = kept?.atMs ?? (await stat(join(this.#places.kept, name))).mtimeMs
      this.#kept.set(name, { disks, terms: { atMs, content: kept?.content ?? [] } })
    })
  }

  /** A folder whose list is damaged stays in the way of its VM, which then does not start; the others do. */
  async #read(place: string, take: (name: string, sidecar: Sidecar) => Promise<void>): Promise<void> {
    for (const name of await readdir(place)) {
      const sidecar = await readSidecar(join(place, name))
      if (sidecar === undefined) this.#unread = true
      else await take(name, sidecar)
    }
  }

  async prepare(vm: VmId, sources: readonly DiskSource[]): Promise<DiskHandle[]> {
    const folder = join(this.#places.vms, vm)
    const there = this.vms.get(vm)
    for (const { image } of there ?? sources) await this.#base(image)
    if (there === undefined) await this.#create(vm, folder, sources)
    return (this.vms.get(vm) ?? []).map((_, index) => ({ path: diskPath(folder, index), format: 'qcow2' }))
  }

  async #create(vm: VmId, folder: string, sources: readonly DiskSource[]): Promise<void> {
    const partial = `${folder}${PARTIAL}`
    await rm(partial, { recursive: true, force: true })
    await mkdir(partial, { mode: 0o700 })
    try {
      const disks: Prepared = []
      for (const [index, { image, bytes }] of sources.entries()) {
        const manifest = await this.#manifest(image)
        const size = Math.ceil(Math.max(bytes, manifest.bytes) / SECTOR_BYTES) * SECTOR_BYTES
        const path = diskPath(partial, index)
        // Relative to the overlay, so that the data folder may move.
        const backing = ['-b', `../../bases/${image}.raw`, '-F', 'raw']
        const ran = await run(
          'qemu-img',
          ['create', '-q', '-f', 'qcow2', ...backing, path, String(size)],
          CREATE_MS,
        )
        if (ran.code !== 0) throw refusal(ran, path)
        await syncFile(path)
        disks.push({ image, bytes: size })
      }
      await writeSidecar(partial, { version: 1, disks })
      await rename(partial, folder)
      await syncFolder(this.#places.vms)
      this.vms.set(vm, disks)
    } catch (error) {
      await rm(partial, { recursive: true, force: true })
      throw error
    }
  }

  async #base(image: ImageId): Promise<void> {
    const path = this.#basePath(image)
    if (await isThere(path)) return
    valueOf(await materialise(await this.#manifest(image), this.#stores.chunks, path))
  }

  async capture(vm: VmId): Promise<CapturedDisk[]> {
    const disks = this.vms.get(vm)
    if (disks === undefined) throw new GodwitError({ code: 'NOT_FOUND', what: 'disk', name: vm })
    const captured: CapturedDisk[] = []
    for (const [index, disk] of disks.entries()) {
      const path = diskPath(join(this.#places.vms, vm), index)
      const { manifest, newBytes } = await this.#captureOne(vm, path, disk)
      captured.push({ image: manifest.image, bytes: disk.bytes, newBytes })
    }
    return captured
  }

  /** Reads what the overlay holds, which is what was written since the base, and nothing else. */
  async #captureOne(
    vm: VmId,
    path: string,
    { image, bytes }: Prepared[number],
  ): Promise<Pick<Ingested, 'manifest' | 'newBytes'>> {
    const base = await this.#manifest(image)
    const overlay = await openExport({
      args: ['--format=qcow2', '--allocation-depth', absolute(path)],
      at: path,
      contexts: [DEPTH],
      place: this.#places.vms,
      inUse: () => new GodwitError({ code: 'ILLEGAL_STATE', vm, state: 'running', wanted: 'read' }),
      refused: (why) => new GodwitError({ code: 'IO', path, why }),
    })
    try {
      const changed: Extents = (each) =>
        overlay.runs(DEPTH, ({ start, length, flags }) => {
          if (flags === IN_OVERLAY) each({ start, length })
        })
      const disk = { base, bytes, changed }
      return valueOf(await ingestRanges(disk, (at, into) => overlay.read(at, into), this.#stores))
    } finally {
      await overlay.close()
    }
  }

  async setAside(vm: VmId, label: string, { atMs, content }: KeepingTerms): Promise<void> {
    const disks = this.vms.get(vm)
    if (disks === undefined) return
    await refuseInUse(vm, join(this.#places.vms, vm), disks)
    const plain = `${vm}.${label.replaceAll(/[^A-Za-z0-9.:_-]/g, '_').slice(0, 100)}`
    let name = plain
    for (let again = 2; this.#kept.has(name); again++) name = `${plain}.${again}`
    const terms = await this.#noted(vm, disks, { atMs, content: [...content] })
    await rename(join(this.#places.vms, vm), join(this.#places.kept, name))
    this.vms.delete(vm)
    this.#kept.set(name, { disks, terms })
    await syncFolder(this.#places.kept)
    await syncFolder(this.#places.vms)
  }

  /** What will be known of a copy that is set aside. On a full disk that is less: it is set aside all the same, and stays. */
  async #noted(vm: VmId, disks: Prepared, kept: NonNullable<Sidecar['kept']>): Promise<KeepingTerms> {
    try {
      await writeSidecar(join(this.#places.vms, vm), { version: 1, disks, kept })
      return kept
    } catch {
      return { ...kept, content: [] }
    }
  }

  async remove(vm: VmId): Promise<void> {
    const disks = this.vms.get(vm)
    if (disks === undefined) return
    await refuseInUse(vm, join(this.#places.vms, vm), disks)
    await this.#takeOff(this.#places.vms, vm, () => this.vms.delete(vm))
    for (const { image } of disks) await this.#dropUnused(image)
  }

  list(): KeptCopy[] {
    const copies = [...this.#kept].map(([name, { disks, terms }]) => {
      const bases = [...new Set(disks.map(({ image }) => image))]
      // A VM's id has no dot in it.
      return { name, vm: name.slice(0, name.indexOf('.')), bases, ...terms }
    })
    return copies.toSorted((a, b) => a.atMs - b.atMs)
  }

  async weigh(name: string): Promise<number> {
    const disks = this.#kept.get(name)?.disks ?? []
    const bases = new Set(disks.map(({ image }) => image).filter((image) => !this.#isBase(image, name)))
    const overlays = disks.map((_, index) => diskPath(join(this.#places.kept, name), index))
    let bytes = 0
    for (const path of [...overlays, ...[...bases].map((image) => this.#basePath(image))])
      bytes += await takenBy(path)
    return bytes
  }

  async drop(name: string): Promise<void> {
    const kept = this.#kept.get(name)
    if (kept === undefined) return
    await this.#takeOff(this.#places.kept, name, () => this.#kept.delete(name))
    for (const { image } of kept.disks) await this.#dropUnused(image)
  }

  /** Renamed first: whoever looks after a crash finds the disks whole, or none. */
  async #takeOff(place: string, name: string, forget: () => void): Promise<void> {
    const gone = join(place, `${name}${PARTIAL}`)
    await rename(join(place, name), gone)
    forget()
    await syncFolder(place)
    await rm(gone, { recursive: true, force: true })
  }

  async #dropUnused(image: ImageId): Promise<void> {
    if (!this.#isBase(image)) await rm(this.#basePath(image), { force: true })
  }

  /** Something lies on it, or may, as far as it is known; one kept copy may be left out. */
  #isBase(image: ImageId, except?: string): boolean {
    const kept = [...this.#kept].filter(([name]) => name !== except).map(([, { disks }]) => disks)
    return this.#unread || [...this.vms.values(), ...kept].flat().some((disk) => disk.image === image)
  }

  #manifest(image: ImageId): Promise<Manifest> {
    return asked<Manifest>((done) => this.#stores.manifests.get(image, done))
  }

  #basePath(image: ImageId): string {
    return join(this.#places.bases, `${image}.raw`)
  }
}

const diskPath = (folder: string, index: number): string => join(folder, `disk${index}.qcow2`)

async function readSidecar(folder: string): Promise<Sidecar | undefined> {
  try {
    return sidecarSchema.parse(JSON.parse(await readFile(join(folder, 'disks.json'), 'utf8')))
  } catch {
    return undefined
  }
}

const writeSidecar = (folder: string, sidecar: Sidecar): Promise<void> =>
  writeWhole(join(folder, 'disks.json'), (file) =>
    file.writeFile(`${JSON.stringify(sidecar, undefined, 2)}\n`),
  )

/** Of the disk; nothing for what is not there. */
async function takenBy(path: string): Promise<number> {
  try {
    return (await stat(path)).blocks * BLOCK_BYTES
  } catch {
    return 0
  }
}

/** A guest that runs holds QEMU's lock on its disks. */
async function refuseInUse(vm: VmId, folder: string, disks: Prepared): Promise<void> {
  for (const index of disks.keys()) {
    const ran = await run('qemu-img', ['info', '-f', 'qcow2', diskPath(folder, index)], CREATE_MS)
    if (/Failed to get .* lock/.test(ran.stderr))
      throw new GodwitError({ code: 'ILLEGAL_STATE', vm, state: 'running', wanted: 'put away' })
  }
}

const refusal = (ran: { code: number; stdout: string; stderr: string }, path: string): GodwitError =>
  /No space left/.test(ran.stderr)
    ? new GodwitError({ code: 'DISK_FULL', path })
    : new GodwitError({ code: 'IO', path, why: complaint('qemu-img', ran) })

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await (await open(path, 'r')).close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

function valueOf<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new GodwitError(outcome.failure)
  return outcome.value
}
