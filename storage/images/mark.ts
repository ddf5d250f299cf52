/** What the manifests held here name: the roots of a collection (chunk-store.ts), and where a chunk that was lost belongs. */
import { failed, ok, type Done } from '../../protocols/outcome.ts'
import { ChunkNames } from './chunk-names.ts'
import type { ManifestStore } from './chunk-store.ts'
import type { Manifest } from './manifest.ts'

/** One manifest in memory at a time. One that cannot be read ends it: whatever it names must not be taken for garbage. */
export function markAll(manifests: ManifestStore, done: Done<ChunkNames>): void {
  const marked = new ChunkNames()
  eachManifest(
    manifests,
    ({ hashes }) => marked.addHashes(hashes),
    (outcome) => done(outcome.ok ? ok(marked) : outcome),
  )
}

/** Images that name one of these chunks. */
export function imagesWith(
  chunks: ChunkNames,
  manifests: ManifestStore,
  done: Done<Pick<Manifest, 'image' | 'bytes'>[]>,
): void {
  const found: Pick<Manifest, 'image' | 'bytes'>[] = []
  eachManifest(
    manifests,
    ({ image, bytes, hashes }) => {
      if (chunks.hasAny(hashes)) found.push({ image, bytes })
    },
    (outcome) => done(outcome.ok ? ok(found) : outcome),
  )
}

function eachManifest(manifests: ManifestStore, take: (manifest: Manifest) => void, done: Done<void>): void {
  const images = manifests.list()
  const next = (index: number): void => {
    const image = images[index]
    if (image === undefined) return done(ok(undefined))
    manifests.get(image, (outcome) => {
      if (outcome.ok) take(outcome.value)
      // Removed since it was listed.
      else if (outcome.failure.code !== 'NOT_FOUND') return done(failed(outcome.failure))
      next(index + 1)
    })
  }
  next(0)
}
