/**
 * Image files, block devices and NBD exports read for ingest (port: storage/images/image-reader.ts). qemu-nbd opens a file
 * as the format that is given, never as one that it guesses, and nothing else on its behalf: no backing file. It tells what
 * is allocated; worker threads read raw files by themselves, all else comes over its socket. Nothing is written.
 */
import { resolve as absolute } from 'node:path'
import { failureOf, GodwitError } from '../../protocols/errors.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'
import type { Content, Extents, ImageReader, ImageSource } from '../../storage/images/image-reader.ts'
import { connectNbd, type NbdExport } from '../../storage/nbd/client.ts'
import { STATE_ZERO } from '../../storage/nbd/wire.ts'
import { openExport } from './nbd.ts'

const ALLOCATION = 'base:allocation'

/** @param scratch Folder for the sockets of qemu-nbd; made by the caller, cleared by it after a crash. */
export function qemuImageReader(scratch: string): ImageReader {
  return {
    async open(source) {
      try {
        const opened = await openSource(source, scratch)
        const { bytes } = opened
        const content: Content = isRaw(source)
          ? { path: source.path }
          : { read: (position, into) => opened.read(position, into) }
        return ok({ bytes, content, extents: dataOf(opened), close: () => opened.close() })
      } catch (error) {
        return failed(failureOf(error)) satisfies Outcome<never>
      }
    },
  }
}

type Raw = Exclude<ImageSource, { kind: 'export' }>

const isRaw = (source: ImageSource): source is Raw =>
  source.kind === 'device' || (source.kind === 'file' && source.format === 'raw')

function openSource(source: ImageSource, place: string): Promise<NbdExport> {
  const contexts = [ALLOCATION]
  if (source.kind === 'export') {
    const { socketPath, name, uri } = source
    return connectNbd({ at: uri, socketPath, name, contexts })
  }
  const { path } = source
  const refused = (why: string): GodwitError => new GodwitError({ code: 'IMAGE_INVALID', path, why })
  return openExport({
    args: [nodeOf(source)],
    at: path,
    contexts,
    place,
    inUse: () => refused('somebody writes to it'),
    refused,
  })
}

/**
 * A name for QEMU's tools that says all there is: no format guessed, no protocol read into a path. qcow2 shares its file with
 * nobody who writes; that raw does not, either, is blkdebug's to say, which does nothing else here.
 */
function nodeOf(source: Raw): string {
  const file = { driver: source.kind === 'device' ? 'host_device' : 'file', filename: absolute(source.path) }
  const isQcow2 = source.kind === 'file' && source.format === 'qcow2'
  const alone = { driver: 'blkdebug', image: file, 'unshare-child-perms': ['write', 'resize'] }
  return `json:${JSON.stringify(isQcow2 ? { driver: 'qcow2', file, backing: null } : { driver: 'raw', file: alone })}`
}

/** Where an export does not say what is allocated, everything may be data. */
const dataOf =
  (opened: NbdExport): Extents =>
  async (each) => {
    if (!opened.has(ALLOCATION)) return each({ start: 0, length: opened.bytes })
    await opened.runs(ALLOCATION, ({ start, length, flags }) => {
      if ((flags & STATE_ZERO) === 0) each({ start, length })
    })
  }
