/**
 * `names.json` in the data folder: the names that a shell's completion offers. Completion has a tenth of a second and
 * must stay silent when the peer is down, so it reads this file and asks nobody.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ImageView, JobView, PeerView, SiteView, TokenView, VmView } from '../views.ts'
import type { Method } from '../operations.ts'
import type { Peer } from './peer.ts'

const NOUNS = ['peer', 'site', 'vm', 'image', 'job', 'token', 'group'] as const
export type Noun = (typeof NOUNS)[number]
export type Names = Readonly<Record<Noun, readonly string[]>>

/** Old enough to be cheap, new enough that a VM just made is offered by the time its name is typed again. */
const REFRESH_MS = 5_000
/** A mesh that was just founded or joined has its first names a moment after the peer is ready. */
const SOON_MS = 1_000
/** What a shell can show; more would only cost time. */
const NAMES_MAX = 2_000
const FILE_BYTES_MAX = 2 * 1024 * 1024

export const namesFile = (dataDir: string): string => join(dataDir, 'names.json')

/** Keeps the file fresh until `stop`. A folder that cannot be written costs completion and nothing else. */
export function keepNames(peer: Peer, dataDir: string): { stop(): void } {
  const images: Images = { names: [], after: undefined }
  let written = ''
  const refresh = async (): Promise<void> => {
    const text = JSON.stringify(await gather(peer, images))
    if (text !== written && write(namesFile(dataDir), text)) written = text
  }
  const timers = [setTimeout(() => void refresh(), SOON_MS), setInterval(() => void refresh(), REFRESH_MS)]
  for (const timer of timers) timer.unref()
  void refresh()
  return { stop: () => timers.forEach((timer) => clearInterval(timer)) }
}

/** Undefined when there is no file, or none that can be used. */
export function readNames(dataDir: string): Names | undefined {
  try {
    const text = readFileSync(namesFile(dataDir), 'utf8')
    if (text.length > FILE_BYTES_MAX) return undefined
    const value = JSON.parse(text) as Partial<Record<Noun, unknown>> | null
    const list = (noun: Noun): string[] => {
      const names: unknown = value?.[noun]
      return Array.isArray(names) ? names.filter((name) => typeof name === 'string') : []
    }
    return Object.fromEntries(NOUNS.map((noun) => [noun, list(noun)])) as Record<Noun, string[]>
  } catch {
    return undefined
  }
}

/** To list images their chunks are counted: worth it only after an import. */
type Images = { names: string[]; after: string | undefined }

async function gather(peer: Peer, images: Images): Promise<Names> {
  const list = <T>(method: Method): Promise<T[]> =>
    new Promise((resolve) => {
      peer.ask(method, {}, (outcome) => resolve(outcome.ok ? (outcome.value as T[]) : []))
    })
  const sites = await list<SiteView>('site.list')
  const own = sites.find(({ self }) => self)?.name
  const vms = await list<VmView>('vm.list')
  const jobs = await list<JobView>('job.list')
  const imports = jobs.filter(({ kind, state }) => kind === 'image-import' && state === 'done')
  const after = imports.map(({ id }) => id).join()
  if (images.after !== after) {
    images.names = (await list<ImageView>('image.list')).map(({ name }) => name)
    images.after = after
  }
  const names = {
    peer: (await list<PeerView>('peer.list')).map(({ name }) => name),
    site: sites.map(({ name }) => name),
    group: ['mesh', ...sites.map(({ name }) => `site/${name}`)],
    // A bare name means the own site.
    vm: vms.map(({ name, site }) => (site === own ? name : `${site}/${name}`)),
    image: images.names,
    job: jobs.map(({ id }) => id),
    token: (await list<TokenView>('token.list')).flatMap(({ id, state }) => (state === 'open' ? [id] : [])),
  }
  return Object.fromEntries(NOUNS.map((noun) => [noun, names[noun].slice(0, NAMES_MAX)])) as Record<
    Noun,
    string[]
  >
}

function write(file: string, text: string): boolean {
  try {
    writeFileSync(`${file}.new`, text, { mode: 0o644 })
    renameSync(`${file}.new`, file)
    return true
  } catch {
    return false
  }
}
