/**
 * What an image file says it is, from its first bytes, before any tool opens it: a qcow2 file may name files of
 * this host as its backing or data file, and a tool would read them.
 */
import type { ImageFormat } from './image-reader.ts'

/** Bytes that `checkHeader` needs: all of a qcow2 header that we look at. */
export const HEADER_BYTES = 104
/** Smallest unit of a disk. */
const SECTOR_BYTES = 512
/** Incompatible feature bit 2: the data lies in another file. */
const EXTERNAL_DATA = 1n << 2n

type Checked = { readonly format: ImageFormat } | { readonly why: string }

/** The format to take the file for, or why it is not taken. `fileBytes` is the file's size. */
export function checkHeader(asked: ImageFormat | 'auto', head: Buffer, fileBytes: number): Checked {
  const isQcow2 = head.length >= 8 && head.toString('latin1', 0, 4) === 'QFI\xfb'
  const format = asked === 'auto' ? (isQcow2 ? 'qcow2' : 'raw') : asked
  if (fileBytes === 0) return { why: 'it is empty' }
  const why = format === 'raw' ? rawFault(fileBytes) : isQcow2 ? qcow2Fault(head) : 'it has no qcow2 header'
  return why === undefined ? { format } : { why }
}

const rawFault = (fileBytes: number): string | undefined =>
  fileBytes % SECTOR_BYTES === 0 ? undefined : `its size is not a multiple of ${SECTOR_BYTES} bytes`

function qcow2Fault(head: Buffer): string | undefined {
  const version = head.readUInt32BE(4)
  if (version !== 2 && version !== 3) return `it is qcow2 version ${version}, not 2 or 3`
  if (head.length < (version === 2 ? 72 : HEADER_BYTES)) return 'its header is cut short'
  if (head.readBigUInt64BE(8) !== 0n) return 'it depends on a backing file'
  if (head.readUInt32BE(32) !== 0) return 'it is encrypted'
  if (head.readBigUInt64BE(24) === 0n) return 'its disk is empty'
  if (version === 3 && (head.readBigUInt64BE(72) & EXTERNAL_DATA) !== 0n) return 'its data is in another file'
  return undefined
}
