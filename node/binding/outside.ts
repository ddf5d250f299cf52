/**
 * The mark outside the data folder, a small file for each mesh and peer, and what the folder lies on: machine, hardware,
 * file system, and which folder it is there. What cannot be read is empty, and counts neither way.
 */
import { readdirSync, readFileSync, realpathSync, statfsSync, statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describeFailure, failureOf } from '../../protocols/errors.ts'
import { failed, ok } from '../../protocols/outcome.ts'
import { fileFailure, syncFolder, writeWhole } from '../../storage/files/durable.ts'
import { type Facts, type Identity, type Position, position } from '../../storage/records.ts'
import type { OutsidePort } from './binding.ts'
import type { Outside } from './judge.ts'

type Place = { readonly dataDir: string; readonly markDir: string }

export function openOutside({ dataDir, markDir }: Place, identity: Identity): OutsidePort {
  const path = markOf(markDir, identity)
  return {
    found: readMark(path),
    facts: factsOf(dataDir),
    write: (mark, done) => {
      writeMark(path, markDir, mark, dataDir).then(
        () => done(ok(undefined)),
        (error: unknown) => done(failed(fileFailure(error, path))),
      )
    },
  }
}

const markOf = (markDir: string, { mesh, peer }: Pick<Identity, 'mesh' | 'peer'>): string =>
  join(markDir, `${mesh}-${peer}.json`)

async function writeMark(path: string, markDir: string, mark: Position, dataDir: string): Promise<void> {
  const made = await mkdir(markDir, { recursive: true, mode: 0o700 })
  // A mark that a power cut takes back would make the folder look as if it were somewhere else.
  if (made !== undefined) await syncFolder(dirname(made))
  const text = `${JSON.stringify({ format: 1, ...mark, folder: dataDir, at: new Date().toISOString() })}\n`
  await writeWhole(path, (file) => file.writeFile(text))
}

function readMark(path: string): Outside {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      return { kind: 'unusable', why: describeFailure(failureOf(error)) }
    return { kind: 'none' }
  }
  try {
    return { kind: 'mark', mark: position(JSON.parse(text), 'mark') }
  } catch {
    return { kind: 'damaged', why: `${path} is no mark` }
  }
}

function factsOf(dataDir: string): Facts {
  return {
    machine: textOf('/etc/machine-id'),
    product: textOf('/sys/class/dmi/id/product_uuid'),
    fileSystem: fileSystemOf(dataDir),
    folder: folderOf(dataDir),
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim().slice(0, 64)
  } catch {
    return ''
  }
}

/** UUID of the file system, where udev says which device has which. */
function fileSystemOf(dataDir: string): string {
  const folder = '/dev/disk/by-uuid'
  try {
    const { dev } = statSync(dataDir)
    return (
      readdirSync(folder)
        .find((uuid) => statSync(join(folder, uuid)).rdev === dev)
        ?.slice(0, 64) ?? ''
    )
  } catch {
    return ''
  }
}

/** File systems whose folders keep their inode for life: ext, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs. */
const STEADY = new Set([0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x2fc12fc1, 0xca451a4e, 0x01021994])

/** A copy has another inode, made at another time; where inodes are made up, the path has to do. */
function folderOf(dataDir: string): string {
  try {
    if (!STEADY.has(statfsSync(dataDir).type)) return `path ${realpathSync(dataDir)}`
    const { ino, birthtimeNs } = statSync(dataDir, { bigint: true })
    return `inode ${ino}, made at ${birthtimeNs}`
  } catch {
    return ''
  }
}
