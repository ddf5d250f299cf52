/** What the manifests held here name: the roots of a collection (chunk-store.ts), and where a chunk that was lost belongs. */
import type { ImageId } from '../../protocols/ids.ts'
import { ok, type Done } from '../../protocols/outcome.ts'
import { ChunkNames } from './chunk-names.ts'
import type { ManifestStore } from './chunk-store.ts'
import type { Manifest } from './manifest.ts'

/**
 * `without`: as if these were not here. A part of one manifest in memory at a time. One that cannot be read ends it: whatever it
 * names must not be taken for garbage.
 */
export function markAll(
  manifests: ManifestStore,
  done: Done<ChunkNames>,
  without: ReadonlySet<ImageId> = new Set(),
): void {
  const marked = new ChunkNames()
  eachImage(
    manifests,
    (image, next) => manifests.walk(image, (hashes) => marked.addHashes(hashes), next),
    (outcome) => done(outcome.ok ? ok(marked) : outcome),
    without,
  )
}

/** Images that name one of these chunks, of those whose manifests can be read. */
export function imagesWith(
  chunks: ChunkNames,
  manifests: ManifestStore,
  done: Done<Pick<Manifest, 'image' | 'bytes'>[]>,
): void {
  const found: Pick<Manifest, 'image' | 'bytes'>[] = []
  const look = (image: ImageId, next: Done<void>): void => {
    let names = false
    const take = (hashes: Uint8Array): void => {
      names ||= chunks.hasAny(hashes)
    }
    manifests.walk(image, take, (walked) => {
      if (!walked.ok && walked.failure.code === 'DATA_CORRUPT') return next(ok(undefined))
      if (!walked.ok || !names) return next(walked)
      manifests.get(image, (manifest) => {
        if (!manifest.ok) return next(manifest)
        found.push({ image, bytes: manifest.value.bytes })
        next(ok(undefined))
      })
    })
  }
  eachImage(manifests, look, (outcome) => done(outcome.ok ? ok(found) : outcome))
}

function eachImage(
  manifests: ManifestStore,
  look: (image: ImageId, next: Done<void>) => void,
  done: Done<void>,
  without: ReadonlySet<ImageId> = new Set(),
): void {
  const images = manifests.list().filter((image) => !without.has(image))
  const next = (index: number): void => {
    const image = images[index]
    if (image === undefined) return done(ok(undefined))
    look(image, (outcome) => {
      // Removed since it was listed.
      if (!outcome.ok && outcome.failure.code !== 'NOT_FOUND') return done(outcome)
      next(index + 1)
    })
  }
  next(0)
}
