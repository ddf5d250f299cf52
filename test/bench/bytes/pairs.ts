/**
 * Disk images made on this machine: a base, and what becomes of it. Of packages of Debian where a mirror can be reached
 * (debian.ts), else of those that are installed here, and then what an upgrade changes is a model. ext4 in blocks of 4 KiB (as
 * any disk above 512 MiB) by `mke2fs -d`; what happens in place happens by `debugfs`, which allocates as the kernel's mballoc
 * would, if more simply.
 */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { copyFile, cp, mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { random, type Random } from '../../../simulator/random.ts'
import { type Debian, fetchDebian, type File, type Package } from './debian.ts'

const run = promisify(execFile)
const MIB = 1024 ** 2
/** Packages that are left out, and content of those that one is chosen from. */
const LARGE_BYTES = 64 * MIB
const MORE_BYTES = 64 * MIB
const DPKG = '/var/lib/dpkg/info'

/** A pair: what is held, and what is fetched. The first of `held` is what its makers started from. */
export type Pair = { readonly name: string; readonly held: readonly string[]; readonly target: string }

/** `from`: what they are made of. */
type Pairs = { readonly pairs: readonly Pair[]; readonly from: string }

/** @param mib Content of the base where it is made of what is installed here, as far as that is so much. */
export async function makePairs(
  folder: string,
  { mib, quick }: { readonly mib: number; readonly quick: boolean },
  say: (line: string) => void,
): Promise<Pairs> {
  const debian = await fetchDebian(folder, quick, say).catch((error: unknown) => error as Error)
  if (!(debian instanceof Error))
    return {
      pairs: await pairsOf(debian, folder, say),
      from: 'packages of Debian bookworm; "upgraded" to its security updates, "other" is trixie',
    }
  say(`no packages of Debian: ${debian.message.split('\n')[0]}`)
  return {
    pairs: await pairsOf(await modelled(folder, mib), folder, say),
    from: 'packages installed here; "upgraded" is a model of what a release changes, not two releases',
  }
}

async function pairsOf(
  { base, added, more, upgraded, next }: Debian,
  folder: string,
  say: (line: string) => void,
): Promise<Pair[]> {
  const image = (name: string): string => join(folder, `${name}.img`)
  const bytes = [...base, ...added, ...more].reduce((sum, each) => sum + each.bytes, 0)
  const sizeMib = Math.ceil((bytes / MIB) * 2.5)
  const tree = join(folder, 'tree')

  await fill(tree, base)
  await format(image('base'), tree, sizeMib)
  say(`base: ${base.length} packages`)

  await copyFile(image('base'), image('grown'))
  await edit(image('grown'), [...directories(added), ...added.flatMap((each) => writes(each))], folder)
  say(`grown: ${added.length} packages more`)

  await copyFile(image('base'), image('upgraded'))
  await edit(
    image('upgraded'),
    [...directories(upgraded), ...upgraded.flatMap((each) => replaces(each))],
    folder,
  )
  say(`upgraded: ${upgraded.length} packages replaced`)

  await fill(tree, [...added, ...more])
  await format(image('rebuilt'), tree, sizeMib)
  say(`rebuilt: ${more.length} packages more than grown`)
  await rm(tree, { recursive: true })

  const pairs: Pair[] = [
    { name: 'grown', held: [image('base')], target: image('grown') },
    { name: 'upgraded', held: [image('base')], target: image('upgraded') },
    { name: 'rebuilt', held: [image('grown'), image('base')], target: image('rebuilt') },
  ]
  if (next.length > 0) {
    await fill(tree, next)
    await format(image('other'), tree, sizeMib)
    await rm(tree, { recursive: true })
    say(`other: ${next.length} packages of the next release`)
    pairs.push({ name: 'other', held: [image('base')], target: image('other') })
  }
  return pairs
}

async function modelled(folder: string, mib: number): Promise<Debian> {
  const packages = await installed(mib * MIB * 1.5)
  const base = packages.splice(0, enough(packages, mib * MIB))
  const added = packages.splice(0, enough(packages, (mib * MIB) / 4))
  const more = packages.filter(({ bytes }) => bytes >= MIB / 2 && bytes <= 4 * MIB).slice(0, 1)
  const upgraded = await newerOf(
    base.filter((_, n) => n % 3 === 0),
    join(folder, 'new'),
  )
  return { base, added, more, upgraded, next: [] }
}

/** In the order of their names, with their regular files, until they have `enoughBytes` and some to choose from. */
async function installed(enoughBytes: number): Promise<Package[]> {
  const packages: Package[] = []
  const names = (await readdir(DPKG)).filter((name) => name.endsWith('.list')).sort()
  let sum = 0
  for (const name of names) {
    if (sum > enoughBytes + MORE_BYTES) break
    const listed = await readFile(join(DPKG, name), 'utf8')
    const files: File[] = []
    let bytes = 0
    for (const path of listed.trim().split('\n')) {
      // debugfs reads its commands as words; links add nothing to what crosses.
      const found = /^\/[^\s"]+$/.test(path) ? await stat(path).catch(() => undefined) : undefined
      if (found?.isFile() !== true) continue
      files.push({ path, from: path })
      bytes += found.size
    }
    if (files.length === 0 || bytes > LARGE_BYTES) continue
    packages.push({ name, files, bytes })
    sum += bytes
  }
  return packages
}

/** How many of `packages` have `bytes` together. */
function enough(packages: readonly Package[], bytes: number): number {
  let sum = 0
  const at = packages.findIndex((each) => (sum += each.bytes) >= bytes)
  return at < 0 ? packages.length : at + 1
}

async function fill(tree: string, packages: readonly Package[]): Promise<void> {
  for (const { files } of packages)
    for (const { path, from } of files) {
      await mkdir(dirname(join(tree, path)), { recursive: true })
      await cp(from, join(tree, path), { dereference: true })
    }
}

async function format(path: string, tree: string, sizeMib: number): Promise<void> {
  const file = await open(path, 'w')
  await file.truncate(sizeMib * MIB)
  await file.close()
  const options = `hash_seed=${randomUUID()},lazy_itable_init=0,root_owner=0:0`
  await run('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '4096', '-E', options, '-d', tree, path], {
    maxBuffer: MIB,
  })
}

async function edit(path: string, commands: readonly string[], folder: string): Promise<void> {
  const script = join(folder, 'commands')
  await writeFile(script, `${commands.join('\n')}\n`)
  // What it cannot do (a directory that is there already) it says, and goes on.
  await run('debugfs', ['-w', '-f', script, path], { maxBuffer: 256 * MIB })
  await rm(script)
}

function directories(packages: readonly Package[]): string[] {
  const all = new Set<string>()
  for (const { files } of packages)
    for (const { path } of files)
      for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) all.add(folder)
  return [...all].sort().map((folder) => `mkdir ${folder}`)
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)

const writes = ({ files }: Package): string[] =>
  files.flatMap(({ path, from }) => [`cd ${dirname(path)}`, `write ${from} ${nameOf(path)}`])

/** As dpkg does it: the new files of a package beside the old ones, then one takes the place of the other. */
const replaces = ({ files }: Package): string[] => [
  ...files.flatMap(({ path, from }) => [`cd ${dirname(path)}`, `write ${from} ${nameOf(path)}.new`]),
  ...files.flatMap(({ path }) => {
    const name = nameOf(path)
    return [`cd ${dirname(path)}`, `rm ${name}`, `ln ${name}.new ${name}`, `unlink ${name}.new`]
  }),
]

async function newerOf(packages: readonly Package[], folder: string): Promise<Package[]> {
  const dice = random(1, 'upgrades')
  await mkdir(folder)
  const upgraded: Package[] = []
  for (const { name, files, bytes } of packages) {
    const fresh: File[] = []
    for (const { path, from } of files) {
      const to = join(folder, randomUUID())
      await writeFile(to, newer(await readFile(from), dice))
      fresh.push({ path, from: to })
    }
    upgraded.push({ name, files: fresh, bytes })
  }
  return upgraded
}

/**
 * What the next release of a file is taken to be: three in ten are the same; in the others some code or text came in every
 * 64 KiB, which shifts what follows by odd numbers of bytes, and an address or a word changed in every KiB.
 */
function newer(content: Buffer, dice: Random): Buffer {
  if (dice.below(10) < 3) return content
  const parts: Buffer[] = []
  for (let at = 0; at < content.length; at += 64 * 1024) {
    const part = Buffer.from(content.subarray(at, at + 64 * 1024))
    for (let word = dice.below(1024); word + 4 <= part.length; word += 1024)
      part.writeUInt32LE(dice.below(2 ** 31), word)
    const cut = dice.below(part.length)
    const added = Buffer.from(Array.from({ length: 1 + dice.below(256) }, () => dice.below(256)))
    parts.push(part.subarray(0, cut), added, part.subarray(cut))
  }
  return Buffer.concat(parts)
}
