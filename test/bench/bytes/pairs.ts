/**
 * Disk images made on this machine, without a network, from the packages that are installed on it: a base, and what becomes
 * of it. ext4 in blocks of 4 KiB (as any disk above 512 MiB) by `mke2fs -d`; what happens in place happens by `debugfs`, which allocates as the kernel's mballoc would, if
 * more simply.
 */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { copyFile, cp, mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { random, type Random } from '../../../simulator/random.ts'

const run = promisify(execFile)
const MIB = 1024 ** 2
/** Packages that are left out, and content of those that one is chosen from. */
const LARGE_BYTES = 64 * MIB
const MORE_BYTES = 64 * MIB
const DPKG = '/var/lib/dpkg/info'

type Package = { readonly name: string; readonly files: readonly string[]; readonly bytes: number }

/** A pair: what is held, and what is fetched. The first of `held` is what its makers started from. */
export type Pair = { readonly name: string; readonly held: readonly string[]; readonly target: string }

/** `from`: what they are made of. */
type Pairs = { readonly pairs: readonly Pair[]; readonly from: string }

/** @param mib Content of the base, as far as this machine has that much. */
export async function makePairs(folder: string, mib: number, say: (line: string) => void): Promise<Pairs> {
  const packages = await installed(mib * MIB * 1.5)
  const base = packages.splice(0, enough(packages, mib * MIB))
  const added = packages.splice(0, enough(packages, (mib * MIB) / 4))
  const more = packages.filter(({ bytes }) => bytes >= MIB / 2 && bytes <= 4 * MIB).slice(0, 1)
  const tree = join(folder, 'tree')
  const image = (name: string): string => join(folder, `${name}.img`)
  const sizeMib = Math.ceil(mib * 2.5)

  await fill(tree, base)
  await format(image('base'), tree, sizeMib)
  say(`base: ${base.length} packages`)

  await copyFile(image('base'), image('grown'))
  await edit(image('grown'), [...directories(added), ...added.flatMap((each) => writes(each))], folder)
  say(`grown: ${added.length} packages more`)

  await copyFile(image('base'), image('upgraded'))
  const upgraded = base.filter((_, n) => n % 3 === 0)
  await edit(image('upgraded'), await upgrades(upgraded, join(folder, 'new')), folder)
  say(`upgraded: ${upgraded.length} packages replaced`)

  await fill(tree, [...added, ...more])
  await format(image('rebuilt'), tree, sizeMib)
  say(`rebuilt: ${more.length} packages more than grown`)
  await rm(tree, { recursive: true })
  await rm(join(folder, 'new'), { recursive: true })

  const pairs = [
    { name: 'grown', held: [image('base')], target: image('grown') },
    { name: 'upgraded', held: [image('base')], target: image('upgraded') },
    { name: 'rebuilt', held: [image('grown'), image('base')], target: image('rebuilt') },
  ]
  return { pairs, from: '"upgraded" is a model of what a release changes, not two releases' }
}

/** In the order of their names, with their regular files, until they have `enoughBytes` and some to choose from. */
async function installed(enoughBytes: number): Promise<Package[]> {
  const packages: Package[] = []
  const names = (await readdir(DPKG)).filter((name) => name.endsWith('.list')).sort()
  let sum = 0
  for (const name of names) {
    if (sum > enoughBytes + MORE_BYTES) break
    const listed = await readFile(join(DPKG, name), 'utf8')
    const files: string[] = []
    let bytes = 0
    for (const path of listed.trim().split('\n')) {
      // debugfs reads its commands as words; links add nothing to what crosses.
      const found = /^\/[^\s"]+$/.test(path) ? await stat(path).catch(() => undefined) : undefined
      if (found?.isFile() !== true) continue
      files.push(path)
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
    for (const path of files) {
      await mkdir(dirname(join(tree, path)), { recursive: true })
      await cp(path, join(tree, path), { dereference: true })
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
    for (const path of files)
      for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) all.add(folder)
  return [...all].sort().map((folder) => `mkdir ${folder}`)
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)

const writes = ({ files }: Package): string[] =>
  files.flatMap((path) => [`cd ${dirname(path)}`, `write ${path} ${nameOf(path)}`])

/** As dpkg does it: the new files of a package beside the old ones, then one takes the place of the other. */
async function upgrades(packages: readonly Package[], folder: string): Promise<string[]> {
  const dice = random(1, 'upgrades')
  await mkdir(folder)
  const commands: string[] = []
  for (const { files } of packages) {
    for (const path of files) {
      const fresh = join(folder, randomUUID())
      await writeFile(fresh, newer(await readFile(path), dice))
      commands.push(`cd ${dirname(path)}`, `write ${fresh} ${nameOf(path)}.new`)
    }
    for (const path of files) {
      const name = nameOf(path)
      commands.push(`cd ${dirname(path)}`, `rm ${name}`, `ln ${name}.new ${name}`, `unlink ${name}.new`)
    }
  }
  return commands
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
