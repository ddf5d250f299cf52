/**
 * Port: image files on this host's file system, in and out of the chunk store. Real: storage/files and node/qemu.
 * Every call ends once; progress never runs backwards.
 */
import type { Done } from '../protocols/outcome.ts'
import type { Manifest } from '../storage/images/manifest.ts'

export type ImageFiles = {
  /** Stores an image file; IMAGE_INVALID before anything is stored when it is not what it says. */
  import(
    path: string,
    format: 'auto' | 'raw' | 'qcow2',
    onProgress: (doneBytes: number, totalBytes: number) => void,
    done: Done<{ manifest: Manifest; dataBytes: number; newBytes: number }>,
  ): { cancel(): void }
  /** Writes a raw, sparse file, byte-identical to what was imported. */
  export(manifest: Manifest, path: string, done: Done<void>): void
  /** Reads and hashes every chunk. */
  verify(
    manifest: Manifest,
    onProgress: (doneBytes: number, totalBytes: number) => void,
    done: Done<{ missing: number; corrupt: number }>,
  ): void
}
