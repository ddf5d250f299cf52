/**
 * Manifests in files, one each, named by its image: what a name says is checked as they are read, a page at a time
 * (manifest-file.ts). Files of version 1 (manifest-form.ts) are read too: small ones into memory, others are written anew.
 */
import { access, type FileHandle, open, readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { failureOf, GodwitError } from '../../protocols/errors.ts'
import type { ImageId } from '../../protocols/ids.ts'
import { MANIFEST_DRAFTS_KEPT } from '../../protocols/limits.ts'
import { failed, ok, type Done, type Outcome } from '../../protocols/outcome.ts'
import type { ManifestDraft, ManifestStore, Receiving } from '../images/chunk-store.ts'
import {
  buildManifest,
  groupOf,
  invalidImage,
  type Manifest,
  partsOf,
  sizeFault,
} from '../images/manifest.ts'
import { decodeHead, HEAD_BYTES, RunsDecoder } from '../images/manifest-form.ts'
import {
  chunkCount,
  type DiskSize,
  GROUP_CHUNKS,
  groupCount,
  HASH_BYTES,
  isGroup,
  type Tree,
} from '../images/merkle.ts'
import { fileFailure, namesIn, PARTIAL, syncFolder } from './durable.ts'
import { type DraftFile, openDraft } from './manifest-draft.ts'
import { FileHashes, type ManifestHead, readAt, readHead } from './manifest-file.ts'
import { PageCache } from './page-cache.ts'

/** What came of a manifest so far. */
const DRAFT = '.draft'
const FILE = /^([0-9a-f]{64})\.manifest$/
/** Manifests that are found open: 2 KiB each of a terabyte. More are opened anew. */
const OPENED_MAX = 64
/** Hashes of an image whose old file is read into memory: 8 GiB of chunks. */
const SMALL_BYTES = 1024 * 1024
/** Read at once of an old file. */
const READ_BYTES = 256 * 1024
/** Parts handed over before other work has its turn: a millisecond. */
const WALK_PARTS = 64

export async function openManifestStore(folder: string): Promise<Outcome<ManifestStore>> {
  try {
    const images = await namesIn(folder, FILE, (file) => file.endsWith(PARTIAL))
    await forgetDrafts(folder)
    return ok(new FileManifestStore(folder, images))
  } catch (error) {
    return failed(fileFailure(error, folder))
  }
}

class FileManifestStore implements ManifestStore {
  readonly #folder: string
  readonly #images: Set<ImageId>
  readonly #pages = new PageCache()
  /** The least recently opened first. */
  readonly #opened = new Map<ImageId, Manifest>()
  /** The disk has changed them: they are as good as not here until they are put again. */
  readonly #damaged = new Set<ImageId>()
  #drafts = 0

  constructor(folder: string, images: Set<ImageId>) {
    this.#folder = folder
    this.#images = images
  }

  list(): ImageId[] {
    return [...this.#images].sort()
  }

  damaged(): ImageId[] {
    return [...this.#damaged].sort()
  }

  get(image: ImageId, done: Done<Manifest>): void {
    this.#answer(done, () => this.#get(image))
  }

  put(manifest: Manifest, done: Done<void>): void {
    this.#answer(done, async () => {
      const { image, bytes, chunkBytes } = manifest
      const draft = await this.#draft({ bytes, chunkBytes })
      try {
        for (let group = 0; group < groupCount(manifest); group++) {
          draft.set(group * GROUP_CHUNKS, groupOf(manifest, group))
          await setImmediate()
        }
      } catch (error) {
        await draft.remove()
        throw error
      }
      await this.#finish(draft, image)
    })
  }

  remove(image: ImageId, done: Done<void>): void {
    this.#answer(done, async () => {
      if (!this.#images.delete(image))
        throw new GodwitError({ code: 'NOT_FOUND', what: 'image', name: image })
      this.#opened.delete(image)
      this.#damaged.delete(image)
      // Who has it reads on in the file that is still open.
      await unlink(this.#pathOf(image))
      await syncFolder(this.#folder)
    })
  }

  walk(image: ImageId, take: (part: Uint8Array) => void, done: Done<void>): void {
    this.#answer(done, async () => {
      let read = 0
      for (const part of partsOf(await this.#get(image))) {
        take(part)
        if (++read % WALK_PARTS === 0) await setImmediate()
      }
    })
  }

  begin(size: DiskSize, image: ImageId | undefined, done: Done<ManifestDraft>): void {
    this.#answer(done, async () => {
      const draft = await this.#draft(size)
      return {
        set: (index, hashes) => draft.set(index, hashes),
        finish: (finished) => this.#answer(finished, () => this.#finish(draft, image)),
        drop: () => void draft.remove().catch(() => {}),
      }
    })
  }

  receive(tree: Tree, done: Done<Receiving>): void {
    this.#answer(done, async () => {
      const { image } = tree
      const { draft, missing } = await this.#received(tree)
      return {
        draft: {
          set: (index, hashes) => draft.set(index, hashes),
          finish: (finished) => this.#answer(finished, () => this.#finish(draft, image)),
          drop: () => void draft.close().catch(() => {}),
        },
        missing,
      }
    })
  }

  pending(image: ImageId, done: Done<Tree | undefined>): void {
    this.#answer(done, async () => {
      try {
        const file = await open(this.#draftOf(image), 'r')
        try {
          const head = await readHead(file)
          return 'image' in head && head.image === image
            ? { ...head.size, image, tops: head.tops }
            : undefined
        } finally {
          await file.close()
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw error
      }
    })
  }

  async #received(tree: Tree): Promise<{ draft: DraftFile; missing: number[] }> {
    const { bytes, chunkBytes } = tree
    const path = this.#draftOf(tree.image)
    const isNew = !(await isThere(path))
    if (isNew) await forgetDrafts(this.#folder)
    const draft = await openDraft(path, { bytes, chunkBytes }, isNew)
    try {
      const missing: number[] = []
      if (isNew) draft.root(tree)
      const room = draft.room()
      for (let group = 0; group < groupCount(tree); group++)
        if (isNew || !isGroup(tree, group, await draft.group(group, room))) missing.push(group)
      return { draft, missing }
    } catch (error) {
      await draft.close()
      throw error
    }
  }

  #draftOf(image: ImageId): string {
    return join(this.#folder, `${image}${DRAFT}`)
  }

  #pathOf(image: ImageId): string {
    return join(this.#folder, `${image}.manifest`)
  }

  async #draft(size: DiskSize): Promise<DraftFile> {
    const fault = sizeFault(size)
    if (fault !== undefined) throw invalidImage('a new image', fault)
    return openDraft(join(this.#folder, `${process.pid}-${++this.#drafts}${PARTIAL}`), size, true)
  }

  async #finish(draft: DraftFile, image: ImageId | undefined): Promise<Manifest> {
    let head: ManifestHead
    try {
      head = await draft.finish(image, (named) => this.#pathOf(named))
    } catch (error) {
      // What was received is worth keeping for a disk with more room.
      const keeps = draft.path.endsWith(DRAFT) && failureOf(error).code !== 'IMAGE_INVALID'
      await (keeps ? draft.close() : draft.remove()).catch(() => {})
      throw error
    }
    // Whoever has this image open reads from the new file from now on.
    this.#pages.close(this.#pathOf(head.image))
    this.#damaged.delete(head.image)
    this.#images.add(head.image)
    return this.#open(head)
  }

  async #get(image: ImageId): Promise<Manifest> {
    if (!this.#images.has(image)) throw new GodwitError({ code: 'NOT_FOUND', what: 'image', name: image })
    if (this.#damaged.has(image)) throw this.#corrupt(image, 'the disk has changed it')
    const opened = this.#opened.get(image)
    if (opened !== undefined) return opened
    const file = await open(this.#pathOf(image), 'r')
    try {
      const head = await readHead(file)
      if ('image' in head && head.image === image) return this.#open(head)
      if ('version' in head && head.version === 1) return await this.#old(image, file)
      const version = 'version' in head ? `its version is ${head.version}` : undefined
      throw this.#corrupt(image, 'why' in head ? head.why : (version ?? 'it is not what its name says'))
    } finally {
      await file.close()
    }
  }

  #open({ image, size, ...head }: ManifestHead): Manifest {
    const damaged = (): void => {
      if (this.#images.has(image)) this.#damaged.add(image)
    }
    const hashes = new FileHashes(this.#pathOf(image), { image, size, ...head }, this.#pages, damaged)
    const manifest = { image, ...size, hashes }
    this.#opened.delete(image)
    this.#opened.set(image, manifest)
    for (const oldest of this.#opened.keys()) {
      if (this.#opened.size <= OPENED_MAX) break
      this.#opened.delete(oldest)
    }
    return manifest
  }

  /** A file of version 1. */
  async #old(image: ImageId, file: FileHandle): Promise<Manifest> {
    try {
      const size = decodeHead(await readAt(file, HEAD_BYTES, 0))
      const bytes = chunkCount(size) * HASH_BYTES
      if (bytes > SMALL_BYTES) return await this.#rewrite(image, size, file)
      const hashes = Buffer.alloc(bytes)
      await readRuns(file, size, (index, some) => some.copy(hashes, index * HASH_BYTES))
      const manifest = buildManifest(size.bytes, size.chunkBytes, hashes)
      if (manifest.image !== image) throw invalidImage(image, 'its Merkle root is another')
      return manifest
    } catch (error) {
      if (failureOf(error).code === 'IMAGE_INVALID')
        throw this.#corrupt(image, 'it is not what its name says')
      throw error
    }
  }

  async #rewrite(image: ImageId, size: DiskSize, file: FileHandle): Promise<Manifest> {
    const draft = await this.#draft(size)
    try {
      await readRuns(file, size, (index, some) => draft.set(index, some))
    } catch (error) {
      await draft.remove()
      throw error
    }
    return this.#finish(draft, image)
  }

  #corrupt(image: ImageId, why: string): GodwitError {
    this.#damaged.add(image)
    return new GodwitError({ code: 'DATA_CORRUPT', what: this.#pathOf(image), why })
  }

  #answer<T>(done: Done<T>, run: () => Promise<T>): void {
    const tell = async (): Promise<void> => done(await outcomeOf(this.#folder, run))
    void tell()
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** The oldest go when there are more than are worth their room. */
async function forgetDrafts(folder: string): Promise<void> {
  const drafts: { path: string; mtimeMs: number }[] = []
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    if (name.endsWith(DRAFT)) drafts.push({ path, mtimeMs: (await stat(path)).mtimeMs })
  }
  const oldest = drafts.sort((one, other) => other.mtimeMs - one.mtimeMs)
  for (const { path } of oldest.slice(MANIFEST_DRAFTS_KEPT)) await unlink(path)
}

async function readRuns(
  file: FileHandle,
  size: DiskSize,
  take: (index: number, hashes: Buffer) => void,
): Promise<void> {
  const decoder = new RunsDecoder(chunkCount(size), take)
  for (let at = HEAD_BYTES; ; at += READ_BYTES) {
    const piece = await readAt(file, READ_BYTES, at)
    decoder.push(piece)
    if (piece.length < READ_BYTES) break
  }
  decoder.end()
}

async function outcomeOf<T>(folder: string, run: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return ok(await run())
  } catch (error) {
    return failed(fileFailure(error, folder))
  }
}
