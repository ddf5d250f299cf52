/**
 * Port: how an image file of some format is read. Raw files need nothing; the rest is what QEMU's tools know, so
 * node/qemu implements this. Ingest asks it only after it has checked the file's own header, with the format that
 * the header shows: an implementation passes that format on and never lets a tool guess it (a raw disk's guest may have
 * written a qcow2 header, which would name any file of the host as its backing file).
 */
import type { Outcome } from '../../protocols/outcome.ts'

export type ImageFormat = 'raw' | 'qcow2'

/** Bytes [start, start + length) of the disk. In lists: ascending, neither empty nor overlapping. */
export type Extent = { readonly start: number; readonly length: number }

export type ImageReader = {
  /** Size of the disk that the file holds, in bytes. IMAGE_INVALID when the tool refuses the file. */
  probe(path: string, format: ImageFormat): Promise<Outcome<{ readonly bytes: number }>>
  /** The parts of the disk that may hold something else than zeros. */
  extents(path: string, format: ImageFormat): Promise<Outcome<Extent[]>>
  /** A raw file with the disk's bytes: the file itself when it is raw, else a sparse copy that `close` removes. */
  open(path: string, format: ImageFormat): Promise<Outcome<RawImage>>
}

type RawImage = { readonly path: string; close(): Promise<void> }
