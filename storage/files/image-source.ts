/**
 * What an operator names as an image: a file, a block device, or `nbd+unix:///NAME?socket=PATH` (the NBD project's form of
 * a URI). It is looked at before any tool opens it, and a device is claimed until the end: Linux refuses O_EXCL on one that
 * is mounted, swapped to, or part of a volume or an array, and refuses these while we hold it. A guest's use of it shows by
 * QEMU's own lock when it is opened.
 */
import { constants, open, stat } from 'node:fs/promises'
import { GodwitError } from '../../protocols/errors.ts'
import { checkHeader, HEADER_BYTES } from '../images/image-header.ts'
import type { ImageFormat, ImageSource } from '../images/image-reader.ts'

type Claimed = { readonly source: ImageSource; release(): Promise<void> }

const NOTHING = (): Promise<void> => Promise.resolve()

/** @throws GodwitError IMAGE_INVALID with what is wrong with it. */
export async function claim(path: string, format: ImageFormat | 'auto'): Promise<Claimed> {
  if (/^nbd[+:]/.test(path)) return { source: exportOf(path, format), release: NOTHING }
  // Before it is opened: to open a pipe waits for whoever writes to it.
  const found = await stat(path)
  if (found.isBlockDevice()) return claimDevice(path, format)
  if (!found.isFile()) throw invalid(path, 'it is no file and no block device')
  return { source: { kind: 'file', path, format: await formatOf(path, format) }, release: NOTHING }
}

function exportOf(uri: string, format: ImageFormat | 'auto'): ImageSource {
  const parsed = URL.parse(uri)
  const socketPath = parsed?.searchParams.get('socket') ?? ''
  const name = parsed === null ? undefined : decoded(parsed.pathname.slice(1))
  if (
    parsed?.protocol !== 'nbd+unix:' ||
    parsed.host !== '' ||
    !socketPath.startsWith('/') ||
    name === undefined
  )
    throw invalid(uri, 'an NBD export is named nbd+unix:///NAME?socket=/PATH')
  if (format === 'qcow2') throw invalid(uri, 'an NBD export is raw: its server reads the format')
  return { kind: 'export', uri, socketPath, name }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

async function claimDevice(path: string, format: ImageFormat | 'auto'): Promise<Claimed> {
  // Whatever its first bytes say: a guest may have written them.
  if (format === 'qcow2') throw invalid(path, 'a block device is read as raw')
  try {
    const held = await open(path, constants.O_RDONLY | constants.O_EXCL)
    return { source: { kind: 'device', path }, release: () => held.close() }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY')
      throw invalid(path, 'it is in use: mounted, or part of something that is')
    throw error
  }
}

async function formatOf(path: string, wanted: ImageFormat | 'auto'): Promise<ImageFormat> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const head = Buffer.alloc(Math.min(HEADER_BYTES, size))
    await file.read(head, 0, head.length, 0)
    const checked = checkHeader(wanted, head, size)
    if ('why' in checked) throw invalid(path, checked.why)
    return checked.format
  } finally {
    await file.close()
  }
}

const invalid = (path: string, why: string): GodwitError =>
  new GodwitError({ code: 'IMAGE_INVALID', path, why })
