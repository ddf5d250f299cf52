/**
 * The NoCloud seed of a guest: an ISO 9660 image named CIDATA with the files `user-data` and `meta-data`, as bytes. The
 * names stand in Rock Ridge entries (ISO 9660 itself knows no lower case); nothing in it depends on time or dice, so
 * a move makes the same seed again.
 */
import assert from 'node:assert/strict'
import type { VmSpec } from '../vm/spec.ts'
import type { VmId } from '../../protocols/ids.ts'

const SECTOR = 2048
/** Some readers take nothing shorter than 24 sectors for a disc: the image is a multiple of these. */
const PADDING = 32
/** Sectors: 16 reserved, then what a reader expects in this order. */
const AT = { volume: 16, end: 17, pathsLittle: 18, pathsBig: 19, root: 20, files: 21 }

type File = { readonly name: string; readonly content: Uint8Array }

/** The seed of a VM, or undefined when its spec asks for none. */
export function cloudInitSeed(vm: VmId, spec: VmSpec): Uint8Array | undefined {
  if (spec.cloudInit === undefined) return undefined
  const metaData = spec.cloudInit.metaData ?? `instance-id: ${vm}\nlocal-hostname: ${spec.name}\n`
  return isoImage([
    { name: 'meta-data', content: Buffer.from(metaData) },
    { name: 'user-data', content: Buffer.from(spec.cloudInit.userData) },
  ])
}

/** Files must come in the order of their names. */
function isoImage(files: readonly File[]): Uint8Array {
  let sector = AT.files
  const placed = files.map((file) => {
    const at = sector
    // An empty file still has a sector of its own, so that no two files share an address.
    sector += Math.max(1, Math.ceil(file.content.length / SECTOR))
    return { ...file, at }
  })
  const sectors = Math.ceil(sector / PADDING) * PADDING
  const image = Buffer.alloc(sectors * SECTOR)
  volumeDescriptor(image.subarray(AT.volume * SECTOR), sectors)
  image.write('\xffCD001\x01', AT.end * SECTOR, 'latin1')
  pathTable(image.subarray(AT.pathsLittle * SECTOR), 'little')
  pathTable(image.subarray(AT.pathsBig * SECTOR), 'big')

  const directory = { at: AT.root, bytes: SECTOR, directory: true }
  const records = [
    record({ ...directory, identifier: '\0', system: [SHARING, EXTENSION, mode(true)] }),
    record({ ...directory, identifier: '\x01', system: [mode(true)] }),
    ...placed.map(({ name, content, at }) =>
      record({
        at,
        bytes: content.length,
        directory: false,
        identifier: `${name.toUpperCase().replaceAll('-', '_')}.;1`,
        system: [mode(false), alternateName(name)],
      }),
    ),
  ]
  const root = Buffer.concat(records)
  assert(root.length <= SECTOR, 'the directory must fit one sector')
  root.copy(image, AT.root * SECTOR)
  for (const { content, at } of placed) image.set(content, at * SECTOR)
  return image
}

function volumeDescriptor(out: Buffer, sectors: number): void {
  out.write('\x01CD001\x01', 0, 'latin1')
  out.fill(' ', 8, 72).write('CIDATA', 40, 'latin1')
  both32(out, 80, sectors)
  both16(out, 120, 1) // Disks in the set.
  both16(out, 124, 1) // The number of this one.
  both16(out, 128, SECTOR)
  both32(out, 132, pathTable(Buffer.alloc(SECTOR), 'little'))
  out.writeUInt32LE(AT.pathsLittle, 140)
  out.writeUInt32BE(AT.pathsBig, 148)
  record({ at: AT.root, bytes: SECTOR, directory: true, identifier: '\0', system: [] }).copy(out, 156)
  // Names of people and files, and four dates: none, which is spaces, and zeros.
  out.fill(' ', 190, 813)
  for (let date = 813; date < 881; date += 17) out.fill('0', date, date + 16)
  out.writeUInt8(1, 881)
}

/** One entry, the root's; returns its size. */
function pathTable(out: Buffer, order: 'little' | 'big'): number {
  out.writeUInt8(1, 0)
  if (order === 'little') out.writeUInt32LE(AT.root, 2)
  else out.writeUInt32BE(AT.root, 2)
  if (order === 'little') out.writeUInt16LE(1, 6)
  else out.writeUInt16BE(1, 6)
  return 10
}

type Entry = {
  readonly at: number
  readonly bytes: number
  readonly directory: boolean
  readonly identifier: string
  /** System use entries (IEEE P1281), here Rock Ridge's. */
  readonly system: readonly Buffer[]
}

function record({ at, bytes, directory, identifier, system }: Entry): Buffer {
  const named = 33 + identifier.length
  const padded = named + (named % 2)
  const use = Buffer.concat(system)
  const out = Buffer.alloc(padded + use.length + (use.length % 2))
  out.writeUInt8(out.length, 0)
  both32(out, 2, at)
  both32(out, 10, bytes)
  out.writeUInt8(directory ? 2 : 0, 25)
  both16(out, 28, 1)
  out.writeUInt8(identifier.length, 32)
  out.write(identifier, 33, 'latin1')
  use.copy(out, padded)
  return out
}

const systemUse = (signature: string, payload: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(signature), Buffer.from([payload.length + 4, 1]), payload])

/** SP: system use entries are here. */
const SHARING = systemUse('SP', Buffer.from([0xbe, 0xef, 0]))
/** ER: they are Rock Ridge's. */
const EXTENSION = systemUse('ER', Buffer.concat([Buffer.from([10, 0, 0, 1]), Buffer.from('RRIP_1991A')]))
/** NM: the name as it is meant. */
const alternateName = (name: string): Buffer => systemUse('NM', Buffer.from(`\0${name}`, 'latin1'))

/** PX: file mode, links, owner and group: readable by all, root's. */
function mode(directory: boolean): Buffer {
  const payload = Buffer.alloc(32)
  both32(payload, 0, directory ? 0o040555 : 0o100444)
  both32(payload, 8, directory ? 2 : 1)
  return systemUse('PX', payload)
}

/** ISO 9660 writes numbers twice, in both byte orders. */
function both32(out: Buffer, at: number, value: number): void {
  out.writeUInt32LE(value, at)
  out.writeUInt32BE(value, at + 4)
}

function both16(out: Buffer, at: number, value: number): void {
  out.writeUInt16LE(value, at)
  out.writeUInt16BE(value, at + 2)
}
