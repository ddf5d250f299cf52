/**
 * Real packages of Debian, unpacked: those of a release as it was published, what its security updates made of them, and those of
 * the next release. By apt, into a folder of its own: nothing of this machine's is touched.
 */
import { execFile } from 'node:child_process'
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const MIB = 1024 ** 2
const MIRROR = 'http://deb.debian.org'
const KEYS = '[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'

/** A file of a package: its place in an image, and where its content lies here. */
export type File = { readonly path: string; readonly from: string }
export type Package = { readonly name: string; readonly files: readonly File[]; readonly bytes: number }

const SOURCES = {
  old: [`deb ${KEYS} ${MIRROR}/debian bookworm main`],
  new: [
    `deb ${KEYS} ${MIRROR}/debian bookworm main`,
    `deb ${KEYS} ${MIRROR}/debian-security bookworm-security main`,
  ],
  next: [`deb ${KEYS} ${MIRROR}/debian trixie main`],
} as const
/** A list of packages and thirty of them, from a mirror that is slow. */
const APT_MS = 240_000
type Suite = keyof typeof SOURCES

/** Of a server with some languages; what bears another name in the next release, with that one. */
const BASE: readonly (readonly [name: string, next?: string])[] = [
  ['apache2-bin'],
  ['bash'],
  ['bind9-libs'],
  ['binutils-x86-64-linux-gnu'],
  ['coreutils'],
  ['dovecot-core'],
  ['e2fsprogs'],
  ['git'],
  ['haproxy'],
  ['libc6'],
  ['libglib2.0-0', 'libglib2.0-0t64'],
  ['libmagickcore-6.q16-6', 'libmagickcore-7.q16-10'],
  ['libperl5.36', 'libperl5.40'],
  ['libpoppler126', 'libpoppler147'],
  ['libpython3.11-minimal', 'libpython3.13-minimal'],
  ['libpython3.11-stdlib', 'libpython3.13-stdlib'],
  ['libssl3', 'libssl3t64'],
  ['mariadb-client-core'],
  ['openssh-client'],
  ['openssh-server'],
  ['perl-base'],
  ['perl-modules-5.36', 'perl-modules-5.40'],
  ['php8.2-cli', 'php8.4-cli'],
  ['php8.2-common', 'php8.4-common'],
  ['sudo'],
  ['systemd'],
  ['tzdata'],
  ['udev'],
  ['unbound'],
  ['util-linux'],
]
const ADDED = ['redis-tools', 'rsync', 'squid', 'libnode108', 'nodejs']
const MORE = ['curl']

export type Debian = {
  readonly base: readonly Package[]
  readonly added: readonly Package[]
  readonly more: readonly Package[]
  /** Of `base`, what has another version by now. */
  readonly upgraded: readonly Package[]
  readonly next: readonly Package[]
}

/** Throws when there is no apt, or no way to a mirror. */
export async function fetchDebian(
  folder: string,
  quick: boolean,
  say: (line: string) => void,
): Promise<Debian> {
  const names = quick ? BASE.slice(0, 10) : BASE
  const all = names.map(([name]) => name)
  const added = quick ? ADDED.slice(0, 2) : ADDED
  const old = await fetched(folder, 'old', [...all, ...added, ...MORE])
  say(`debian: ${old.size} packages of bookworm`)
  const now = await fetched(folder, 'new', all)
  const next = await fetched(
    folder,
    'next',
    names.map(([name, later = name]) => later),
  )
  say(`debian: ${next.size} packages of trixie`)
  const some = (of: ReadonlyMap<string, Deb>, wanted: readonly string[]): Package[] =>
    wanted.flatMap((name) => of.get(name)?.contents ?? [])
  return {
    base: some(old, all),
    added: some(old, added),
    more: some(old, MORE),
    upgraded: all.flatMap((name) => {
      const [before, after] = [old.get(name), now.get(name)]
      return after === undefined || before?.file === after.file ? [] : after.contents
    }),
    next: [...next.values()].map(({ contents }) => contents),
  }
}

type Deb = { readonly file: string; readonly contents: Package }

async function fetched(folder: string, suite: Suite, names: readonly string[]): Promise<Map<string, Deb>> {
  const root = join(folder, `apt-${suite}`)
  for (const part of ['state/lists/partial', 'cache/archives/partial', 'debs', 'parts'])
    await mkdir(join(root, part), { recursive: true })
  await writeFile(join(root, 'sources.list'), `${SOURCES[suite].join('\n')}\n`)
  await writeFile(join(root, 'status'), '')
  const options = [
    `Dir::Etc::sourcelist=${root}/sources.list`,
    `Dir::Etc::sourceparts=${root}/parts`,
    `Dir::State=${root}/state`,
    `Dir::State::status=${root}/status`,
    `Dir::Cache=${root}/cache`,
    'APT::Sandbox::User=root',
    'APT::Architecture=amd64',
    'Acquire::Languages=none',
  ].flatMap((option) => ['-o', option])
  const apt = (...args: string[]): Promise<unknown> =>
    run('apt-get', [...options, '-qq', ...args], {
      cwd: join(root, 'debs'),
      maxBuffer: 16 * MIB,
      timeout: APT_MS,
    })
  await apt('update')
  await apt('download', ...names)
  const debs = new Map<string, Deb>()
  for (const file of (await readdir(join(root, 'debs'))).sort()) {
    const name = file.split('_')[0] ?? file
    const tree = join(root, 'trees', name)
    await mkdir(tree, { recursive: true })
    await run('dpkg-deb', ['-x', join(root, 'debs', file), tree], { maxBuffer: 16 * MIB })
    debs.set(name, { file, contents: await packageIn(name, tree) })
  }
  return debs
}

/** Links add nothing to what crosses; debugfs reads its commands as words. */
async function packageIn(name: string, tree: string): Promise<Package> {
  const files: File[] = []
  let bytes = 0
  for (const entry of await readdir(tree, { recursive: true, withFileTypes: true })) {
    const from = join(entry.parentPath, entry.name)
    const path = `/${relative(tree, from)}`
    if (!entry.isFile() || /[\s"]/.test(path)) continue
    files.push({ path, from })
    bytes += (await stat(from)).size
  }
  return { name, files: files.sort((a, b) => (a.path < b.path ? -1 : 1)), bytes }
}
