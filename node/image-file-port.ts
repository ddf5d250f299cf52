/** The image files of this host behind the port of image-files.ts: storage/files does the work, QEMU's tools read formats. */
import { failureOf } from '../protocols/errors.ts'
import { CHUNK_BYTES } from '../protocols/limits.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import { materialise, verifyImage } from '../storage/files/export.ts'
import type { PieceHashes } from '../migration/gateway/piece-hashes.ts'
import { importImage, type Stores, type Watching } from '../storage/files/ingest.ts'
import { asked } from '../storage/images/asked.ts'
import type { BlockLists } from '../storage/images/block-lists.ts'
import type { ImageReader } from '../storage/images/image-reader.ts'
import type { ImageFiles } from './image-files.ts'

/** `pieces`: hashes for a .torrent are made on the way, where images are published. */
export function imageFiles(
  reader: ImageReader,
  stores: Stores,
  lists: BlockLists,
  pieces?: Pick<PieceHashes, 'draft'>,
): ImageFiles {
  return {
    import(path, format, onProgress, done) {
      const abort = new AbortController()
      const draft = lists.draft(CHUNK_BYTES)
      const hashes = pieces?.draft()
      const watching: Watching = {
        onProgress,
        signal: abort.signal,
        onFingerprints: (index, list) => draft.set(index, list),
        ...(hashes !== undefined && { pieces: hashes }),
      }
      answer(done, async () => {
        const imported = await importImage({ path, format }, reader, stores, watching)
        if (!imported.ok) draft.drop()
        // Without a list it is an image all the same; one is made in time (migration/second-level/listing.ts).
        else await asked<void>((over) => draft.finish(imported.value.manifest, over)).catch(() => {})
        // They can be made again.
        if (imported.ok) await hashes?.finish(imported.value.manifest).catch(() => {})
        return imported
      })
      return { cancel: () => abort.abort() }
    },
    export: (manifest, path, done) => answer(done, () => materialise(manifest, stores.chunks, path)),
    verify: (manifest, onProgress, done) =>
      answer(done, async () => {
        const verified = await verifyImage(manifest, stores.chunks, { onProgress })
        return verified.ok
          ? ok({ missing: verified.value.missing, corrupt: verified.value.corrupt })
          : verified
      }),
  }
}

/** What a promise brings, as a port says it. */
function answer<T>(done: Done<T>, work: () => Promise<Outcome<T>>): void {
  work().then(done, (error: unknown) => done(failed(failureOf(error))))
}
