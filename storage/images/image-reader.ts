/**
 * Port: how the disk in an image file, on a block device or behind an NBD export is read. What is not plain bytes is what
 * QEMU's tools know, so node/qemu implements this. Ingest asks it only after it has checked the file's own header, with the
 * format that the header shows: an implementation passes that format on and never lets a tool guess it (a raw disk's guest
 * may have written a qcow2 header, which would name any file of the host as its backing file).
 */
import type { Outcome } from '../../protocols/outcome.ts'

export type ImageFormat = 'raw' | 'qcow2'

/** Where an image comes from, checked and claimed. */
export type ImageSource =
  | { readonly kind: 'file'; readonly path: string; readonly format: ImageFormat }
  | { readonly kind: 'device'; readonly path: string }
  | { readonly kind: 'export'; readonly uri: string; readonly socketPath: string; readonly name: string }

/** Bytes [start, start + length) of the disk. */
export type Extent = { readonly start: number; readonly length: number }
/** Tells parts of a disk, ascending, neither empty nor overlapping. No list: a worn terabyte has millions of them. */
export type Extents = (each: (extent: Extent) => void) => Promise<void>

/** Fills `into` with what the disk holds from `position` on. */
export type Read = (position: number, into: Uint8Array) => Promise<void>

/** A raw file, which worker threads read by themselves; or whom to ask. */
export type Content = { readonly path: string } | { readonly read: Read }

type OpenImage = {
  /** Size of the disk. */
  readonly bytes: number
  /** The parts that may hold something else than zeros. */
  readonly extents: Extents
  readonly content: Content
  close(): Promise<void>
}

export type ImageReader = {
  /** IMAGE_INVALID when the tool refuses it, or somebody writes to it. */
  open(source: ImageSource): Promise<Outcome<OpenImage>>
}
