/** Manifests in files, one each, named by its image: what a name says is checked whenever one is read. */
import { mkdir, readdir, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { GodwitError } from '../../protocols/errors.ts'
import type { ImageId } from '../../protocols/ids.ts'
import { failed, ok, type Done, type Outcome } from '../../protocols/outcome.ts'
import type { ManifestStore } from '../images/chunk-store.ts'
import { decodeManifest, encodeManifest, verifyManifest, type Manifest } from '../images/manifest.ts'
import { fileFailure, PARTIAL, syncFolder, writeWhole } from './durable.ts'

const FILE = /^([0-9a-f]{64})\.manifest$/

export async function openManifestStore(folder: string): Promise<Outcome<ManifestStore>> {
  try {
    await mkdir(folder, { recursive: true })
    const images = new Set<ImageId>()
    for (const name of await readdir(folder)) {
      const image = FILE.exec(name)?.[1]
      if (image !== undefined) images.add(image)
      else if (name.endsWith(PARTIAL)) await unlink(join(folder, name))
    }
    return ok(manifestsIn(folder, images))
  } catch (error) {
    return failed(fileFailure(error, folder))
  }
}

function manifestsIn(folder: string, images: Set<ImageId>): ManifestStore {
  const pathOf = (image: ImageId): string => join(folder, `${image}.manifest`)
  return {
    list: () => [...images].sort(),
    get: (image, done) =>
      answer(folder, done, async () => {
        if (!images.has(image)) throw new GodwitError({ code: 'NOT_FOUND', what: 'image', name: image })
        const manifest = decoded(await readFile(pathOf(image)))
        if (manifest?.image === image) return manifest
        throw new GodwitError({
          code: 'DATA_CORRUPT',
          what: pathOf(image),
          why: 'it is not what its name says',
        })
      }),
    put: (manifest, done) =>
      answer(folder, done, async () => {
        const fault = verifyManifest(manifest)
        if (fault !== undefined)
          throw new GodwitError({ code: 'IMAGE_INVALID', path: manifest.image, why: fault })
        if (images.has(manifest.image)) return
        await writeWhole(pathOf(manifest.image), (file) => file.writeFile(encodeManifest(manifest)))
        images.add(manifest.image)
      }),
    remove: (image, done) =>
      answer(folder, done, async () => {
        if (!images.delete(image)) throw new GodwitError({ code: 'NOT_FOUND', what: 'image', name: image })
        await unlink(pathOf(image))
        await syncFolder(folder)
      }),
  }
}

function decoded(bytes: Uint8Array): Manifest | undefined {
  try {
    return decodeManifest(bytes)
  } catch {
    return undefined
  }
}

function answer<T>(folder: string, done: Done<T>, run: () => Promise<T>): void {
  const tell = async (): Promise<void> => done(await outcomeOf(folder, run))
  void tell()
}

async function outcomeOf<T>(folder: string, run: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return ok(await run())
  } catch (error) {
    return failed(fileFailure(error, folder))
  }
}
