/**
 * Image files read through qemu-img (port: storage/images/image-reader.ts). A file is opened as the format that is
 * given, never as one that qemu-img guesses, and nothing else is opened on its behalf: no backing file, no data file.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { GodwitError, failureOf } from '../../protocols/errors.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'
import type { Extent, ImageFormat, ImageReader } from '../../storage/images/image-reader.ts'
import { complaint, run } from './tools.ts'

/** Reading headers and tables; on a busy disk of a small host. */
const PROBE_MS = 60_000
/** A conversion may take this long for each byte of the disk past that: 4 MiB/s, a memory card. */
const MS_PER_BYTE = 1 / (4 * 1024)

const infoSchema = z.object({
  'virtual-size': z.int().min(0),
  encrypted: z.boolean().optional(),
  'backing-filename': z.string().optional(),
  'format-specific': z
    .object({ data: z.looseObject({ 'data-file': z.string().optional() }).optional() })
    .optional(),
})

const mapSchema = z.array(
  z.object({
    start: z.int().min(0),
    length: z.int().min(0),
    depth: z.int().min(0),
    present: z.boolean().default(true),
    zero: z.boolean(),
    data: z.boolean(),
  }),
)

/** One extent of `qemu-img map`: `depth` 0 lies in the file itself, 1 in its backing file. */
export type MapEntry = z.infer<typeof mapSchema>[number]

/** @param scratch Folder for the sparse copies of files that are not raw; made by the caller. */
export function qemuImageReader(scratch: string): ImageReader {
  return {
    probe: (path, format) => outcomeOf(async () => ({ bytes: await probe(path, format) })),
    extents: (path, format) =>
      outcomeOf(async () => {
        await probe(path, format)
        return dataExtents(await map([node(path, format)], path))
      }),
    open: (path, format) => outcomeOf(() => open(scratch, path, format)),
  }
}

/** Size of the disk; refuses whatever would make QEMU open more than this one file. */
async function probe(path: string, format: ImageFormat): Promise<number> {
  const ran = await run('qemu-img', ['info', '--output=json', node(path, format)], PROBE_MS)
  if (ran.code !== 0) throw invalid(path, complaint('qemu-img', ran))
  const info = parsed(infoSchema, ran.stdout, path)
  if (info.encrypted === true) throw invalid(path, 'it is encrypted')
  if (info['backing-filename'] !== undefined) throw invalid(path, 'it needs a backing file')
  if (info['format-specific']?.data?.['data-file'] !== undefined)
    throw invalid(path, 'its data lies in another file')
  return info['virtual-size']
}

/** What qemu-img says of every extent of a disk; `source` is what it takes for one, `path` is for people. */
export async function map(source: readonly string[], path: string): Promise<MapEntry[]> {
  const ran = await run('qemu-img', ['map', '--output=json', ...source], PROBE_MS)
  if (ran.code !== 0) throw invalid(path, complaint('qemu-img', ran))
  return parsed(mapSchema, ran.stdout, path)
}

/** Neighbours are merged, so that lists stay short. */
export function dataExtents(entries: readonly MapEntry[]): Extent[] {
  const extents: { start: number; length: number }[] = []
  for (const { start, length, zero, data } of entries) {
    if ((zero && !data) || length === 0) continue
    const last = extents.at(-1)
    if (last !== undefined && last.start + last.length === start) last.length += length
    else extents.push({ start, length })
  }
  return extents
}

async function open(
  scratch: string,
  path: string,
  format: ImageFormat,
): Promise<{ path: string; close(): Promise<void> }> {
  const bytes = await probe(path, format)
  if (format === 'raw') return { path, close: () => Promise.resolve() }
  const folder = await mkdtemp(join(scratch, 'image-'))
  const close = (): Promise<void> => rm(folder, { recursive: true, force: true })
  try {
    const copy = join(folder, 'disk.raw')
    const args = ['convert', '-O', 'raw', node(path, format), `file:${copy}`]
    const ran = await run('qemu-img', args, PROBE_MS + bytes * MS_PER_BYTE)
    if (ran.code !== 0) {
      if (/No space left/.test(ran.stderr)) throw new GodwitError({ code: 'DISK_FULL', path: copy })
      throw invalid(path, complaint('qemu-img', ran))
    }
    return { path: copy, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** A file name for QEMU's tools that says all there is: no format guessed, no protocol read into a path. */
function node(path: string, format: ImageFormat): string {
  const file = { driver: 'file', filename: path }
  return `json:${JSON.stringify(format === 'qcow2' ? { driver: format, file, backing: null } : { driver: format, file })}`
}

function parsed<T>(schema: z.ZodType<T>, text: string, path: string): T {
  try {
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    throw new GodwitError({ code: 'IMAGE_INVALID', path, why: 'qemu-img cannot describe it' }, { cause })
  }
}

const invalid = (path: string, why: string): GodwitError =>
  new GodwitError({ code: 'IMAGE_INVALID', path, why })

async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return ok(await work())
  } catch (error) {
    return failed(failureOf(error))
  }
}
