/**
 * The tiny guest: a disk image that boots, counts, says so on its serial port and answers ACPI's power button
 * (boot-sector.ts), with data behind it that does not compress, so that moving it costs what a real disk costs.
 */
import { createCipheriv } from 'node:crypto'
import { open, type FileHandle } from 'node:fs/promises'
import { bootSector, COUNTER_LBA, COUNTER_MAGIC, COUNTER_OFFSET, SECTOR_BYTES } from './boot-sector.ts'

const MIB = 1024 * 1024
/** Where the incompressible data begins. */
const DATA_AT = 16 * MIB

export type GuestImage = {
  /** Size of the disk. */
  readonly bytes: number
  /** Incompressible bytes, from DATA_AT on. */
  readonly randomBytes: number
  readonly seed: number
  /** The count it starts from. */
  readonly count?: number
}

const GUEST_IMAGE: GuestImage = { bytes: 256 * MIB, randomBytes: 32 * MIB, seed: 1 }

/** Writes a sparse raw disk; the same options give the same bytes for ever. */
export async function buildGuestImage(path: string, image: GuestImage = GUEST_IMAGE): Promise<void> {
  const file = await open(path, 'w')
  try {
    await file.write(bootSector(), 0, SECTOR_BYTES, 0)
    await file.write(counterSector(image.count ?? 0), 0, SECTOR_BYTES, COUNTER_LBA * SECTOR_BYTES)
    await writeNoise(file, image)
    await file.truncate(image.bytes)
  } finally {
    await file.close()
  }
}

/** The count on a raw disk image, as the guest left it. */
export async function readCounter(path: string): Promise<number> {
  const file = await open(path, 'r')
  try {
    const sector = Buffer.alloc(SECTOR_BYTES)
    await file.read(sector, 0, SECTOR_BYTES, COUNTER_LBA * SECTOR_BYTES)
    if (!sector.subarray(0, COUNTER_OFFSET).equals(Buffer.from(COUNTER_MAGIC)))
      throw new Error(`${path} has no counter`)
    return sector.readUInt32LE(COUNTER_OFFSET)
  } finally {
    await file.close()
  }
}

export type Heartbeat = { readonly kind: 'boot' | 'count' | 'off'; readonly count: number }

/** What the guest has said, from lines of its serial log; other lines (the BIOS's) are left out. */
export function heartbeats(lines: readonly string[]): Heartbeat[] {
  return lines.flatMap((line) => {
    const said = /^godwit-guest (?:(boot|off) )?count=(\d+)$/.exec(line.trimEnd())
    return said === null ? [] : [{ kind: (said[1] ?? 'count') as Heartbeat['kind'], count: Number(said[2]) }]
  })
}

function counterSector(count: number): Buffer {
  const sector = Buffer.alloc(SECTOR_BYTES)
  sector.write(COUNTER_MAGIC, 'latin1')
  sector.writeUInt32LE(count, COUNTER_OFFSET)
  return sector
}

/** AES in counter mode under the seed as its key: dice that cost a second per gigabyte, not a minute. */
async function writeNoise(file: FileHandle, { randomBytes, seed }: GuestImage): Promise<void> {
  const key = Buffer.alloc(16)
  key.writeUInt32LE(seed >>> 0)
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16))
  const zeros = Buffer.alloc(MIB)
  for (let at = 0; at < randomBytes; at += MIB) {
    const noise = cipher.update(zeros.subarray(0, Math.min(MIB, randomBytes - at)))
    await file.write(noise, 0, noise.length, DATA_AT + at)
  }
}
