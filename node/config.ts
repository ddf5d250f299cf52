/**
 * The configuration of a peer: flag, else GODWIT_* variable, else file, else a default that works. Each value
 * remembers where it came from. What cannot be used is refused with its place; nothing is guessed and nothing ignored.
 */
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { isIP } from 'node:net'
import { availableParallelism, hostname, totalmem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import { failureOf } from '../protocols/errors.ts'
import { parseQuota } from './keeping/room.ts'
import { PLAIN } from '../storage/files/frame-keys.ts'
import { LABELS_MAX, NAME_LENGTH_MAX } from '../protocols/limits.ts'
import { failed, ok, type Outcome } from '../protocols/outcome.ts'
import { LEVEL } from '../storage/images/chunk-content.ts'
import { parseListen } from '../migration/torrent/gateway.ts'
import { parseDays, parseRate, parseTime, type Rule } from '../protocols/rate/schedule.ts'
import {
  CONFIG_KEYS,
  type ConfigKey,
  defaultConfigFile,
  defaultDataDir,
  defaultMarkDir,
  type Environment,
  type Flags,
  type Key,
  SOCKET_NAME,
} from './config-keys.ts'
import { isTimeZone } from './wall-time.ts'

export type Config = {
  readonly dataDir: string
  readonly markDir: string
  readonly socket: string
  readonly name: string
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  readonly joinListen: readonly string[]
  /** `off` alone: none. */
  readonly bulkListen: readonly string[]
  readonly mdns: boolean
  /** `address:port`, or `off`. */
  readonly http: { readonly listen: string }
  readonly capacity: { readonly cpus: number; readonly memoryMiB: number; readonly diskGiB: number }
  readonly store: { readonly quota: string; readonly keyFiles: readonly string[]; readonly level: number }
  readonly labels: Readonly<Record<string, string>>
  readonly raft: { readonly vote: boolean; readonly uplink: string }
  /** `address:port`, or `off`. */
  readonly torrent: { readonly listen: string }
  readonly transfer: { readonly limits: readonly Rule[]; readonly timeZone: string }
  readonly driver: 'auto' | 'kvm' | 'tcg' | 'none'
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error' }
}

/** Where a value came from: `flag --name`, `env GODWIT_NAME`, `file /etc/godwit/config.yaml`, `default`. */
type Origins = Readonly<Record<Key, string>>
export type Read = { readonly config: Config; readonly origins: Origins; readonly file: string | undefined }

/** What the defaults are made from: of this machine, unless a test says otherwise. */
export type Machine = {
  readonly root: boolean
  readonly hostname: string
  readonly cpus: number
  readonly memoryMiB: number
  readonly cwd: string
  diskGiB(folder: string): number
}

/** A configuration of a few hundred labels is 20 KiB. */
const FILE_BYTES_MAX = 64 * 1024
/** `sun_path` is 108 bytes with its closing zero; longer paths would be cut in silence. */
const SOCKET_PATH_BYTES_MAX = 107
const ADDRESSES_MAX = 16
/** One that writes, and those that a store is converted from. */
const KEY_FILES_MAX = 8

const optional = <S extends z.ZodType>(schema: S) => schema.optional()
const path = z.string().min(1).max(4_096)
const label = z.string().regex(/^[A-Za-z0-9_./-]{1,63}$/, 'a label is letters, digits and _ . / -')
const multiaddr = z
  .string()
  .max(256)
  .refine(isMultiaddr, 'must be a multiaddr with a TCP port: /ip4/0.0.0.0/tcp/4710')
const addresses = z.array(multiaddr).max(ADDRESSES_MAX)

/** A rule for every hour of a week would be 168; each costs a look every few seconds. */
const LIMITS_MAX = 32
const rate = z.string().transform((text, context) => {
  const bytesPerS = parseRate(text)
  if (bytesPerS !== undefined) return bytesPerS
  context.addIssue('must be a rate of at least 64kbit: 20Mbit, 5MB or 4.5MiB')
  return z.NEVER
})
const time = z.string().transform((text, context) => {
  const minute = parseTime(text)
  if (minute !== undefined) return minute
  context.addIssue("must be a time, in quotes: '08:00'")
  return z.NEVER
})
const days = z.string().transform((text, context) => {
  const list = parseDays(text)
  if (list !== undefined) return list
  context.addIssue('must be days: mon-fri, or sat,sun')
  return z.NEVER
})
/** As an operator writes it; what it becomes is protocols/rate/schedule.ts's. */
const transferLimit = z
  .strictObject({
    rate: optional(rate),
    up: optional(rate),
    down: optional(rate),
    to: z
      .string()
      .regex(
        /^(\*|[a-z0-9][a-z0-9-]*(\/[a-z0-9][a-z0-9-]*)?)$/,
        'must be other-sites, *, a site, or site/peer',
      )
      .default('other-sites'),
    from: optional(time),
    until: optional(time),
    days: optional(days),
  })
  .refine((limit) => (limit.from === undefined) === (limit.until === undefined), 'from and until go together')
  .refine(
    (limit) => (limit.rate ?? limit.up ?? limit.down) !== undefined,
    'a rate is missing: rate, up or down',
  )
  .transform(({ rate: both, up = both, down = both, ...rest }): Rule => ({ ...rest, up, down }))

const SCHEMAS = {
  dataDir: path,
  markDir: path,
  socket: path,
  name: z
    .string()
    .max(NAME_LENGTH_MAX)
    .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'a name is a-z, 0-9 and -, not at its ends'),
  listen: addresses.min(1),
  announce: addresses,
  joinListen: addresses.min(1),
  bulkListen: z.union([z.tuple([z.literal('off')]), addresses.min(1)]),
  mdns: z.boolean(),
  'http.listen': z.string().max(256).refine(isHttpAddress, 'must be address:port, or off'),
  'capacity.cpus': z.int().min(0).max(4_096),
  'capacity.memoryMiB': z
    .int()
    .min(0)
    .max(64 * 1024 ** 2),
  'capacity.diskGiB': z
    .int()
    .min(0)
    .max(1024 ** 2),
  'store.quota': z
    .string()
    .max(32)
    .refine((text) => parseQuota(text) !== undefined, 'must be a size (200GiB), a part (80%), or off'),
  'store.keyFiles': z
    .array(z.string().max(4_096).refine(isKeyFile, 'must be the absolute path of a file, or plain'))
    .max(KEY_FILES_MAX),
  'store.level': z.int().min(1).max(19),
  labels: z
    .record(label, z.string('must be key=value').max(NAME_LENGTH_MAX))
    .refine((labels) => Object.keys(labels).length <= LABELS_MAX, `at most ${LABELS_MAX} labels`),
  'raft.vote': z.boolean(),
  'raft.uplink': label,
  'torrent.listen': z
    .string()
    .max(256)
    .refine((text) => text === 'off' || parseListen(text) !== undefined, 'must be address:port, or off'),
  'transfer.limits': z.array(transferLimit).max(LIMITS_MAX),
  'transfer.timeZone': z.string().max(64).refine(isTimeZone, 'must be a time zone: Europe/Berlin'),
  driver: z.enum(['auto', 'kvm', 'tcg', 'none']),
  'log.level': z.enum(['debug', 'info', 'warn', 'error']),
} as const satisfies Record<Key, z.ZodType>

/** The file's shape: every key may be left out, no other may be there. */
const fileSchema = z.preprocess(
  (value) => value ?? {},
  z.strictObject({
    dataDir: optional(SCHEMAS.dataDir),
    markDir: optional(SCHEMAS.markDir),
    socket: optional(SCHEMAS.socket),
    name: optional(SCHEMAS.name),
    listen: optional(SCHEMAS.listen),
    announce: optional(SCHEMAS.announce),
    joinListen: optional(SCHEMAS.joinListen),
    bulkListen: optional(SCHEMAS.bulkListen),
    mdns: optional(SCHEMAS.mdns),
    http: optional(z.strictObject({ listen: optional(SCHEMAS['http.listen']) })),
    capacity: optional(
      z.strictObject({
        cpus: optional(SCHEMAS['capacity.cpus']),
        memoryMiB: optional(SCHEMAS['capacity.memoryMiB']),
        diskGiB: optional(SCHEMAS['capacity.diskGiB']),
      }),
    ),
    store: optional(
      z.strictObject({
        quota: optional(SCHEMAS['store.quota']),
        keyFiles: optional(SCHEMAS['store.keyFiles']),
        level: optional(SCHEMAS['store.level']),
      }),
    ),
    labels: optional(SCHEMAS.labels),
    raft: optional(
      z.strictObject({
        vote: optional(SCHEMAS['raft.vote']),
        uplink: optional(SCHEMAS['raft.uplink']),
      }),
    ),
    torrent: optional(z.strictObject({ listen: optional(SCHEMAS['torrent.listen']) })),
    transfer: optional(
      z.strictObject({
        limits: optional(SCHEMAS['transfer.limits']),
        timeZone: optional(SCHEMAS['transfer.timeZone']),
      }),
    ),
    driver: optional(SCHEMAS.driver),
    log: optional(z.strictObject({ level: optional(SCHEMAS['log.level']) })),
  }),
)

export async function readConfig(
  flags: Flags,
  env: Environment,
  machine: Machine = thisMachine(),
): Promise<Outcome<Read>> {
  const file = configFile(flags, env, machine)
  const written = file === undefined ? ok({}) : await readConfigFile(file)
  if (!written.ok) return written
  const values = new Map<Key, unknown>()
  const origins = {} as Record<Key, string>
  for (const row of CONFIG_KEYS) {
    const said = first(row, flags, env, machine)
    if (!said.ok) return said
    if (said.value !== undefined) {
      values.set(row.key, said.value.value)
      origins[row.key] = said.value.origin
      continue
    }
    const inFile = pick(written.value, row.key)
    if (inFile !== undefined && file !== undefined) {
      const text = row.kind === 'path' ? resolve(dirname(file), inFile as string) : inFile
      values.set(row.key, text)
      origins[row.key] = `file ${file}`
    } else {
      origins[row.key] = 'default'
    }
  }
  const config = complete(values, env, machine)
  const bytes = Buffer.byteLength(config.socket)
  if (bytes > SOCKET_PATH_BYTES_MAX) {
    const why = `socket ${config.socket} is ${bytes} bytes long; a Unix socket takes ${SOCKET_PATH_BYTES_MAX}`
    return failed({ code: 'USAGE', why, next: 'name a shorter one: --socket PATH' })
  }
  return ok({ config, origins, file })
}

/** A file checked by itself, as `config validate` does. */
export async function readConfigFile(file: string): Promise<Outcome<z.output<typeof fileSchema>>> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    return failed(missing ? { code: 'USAGE', why: `${file}: no such file` } : failureOf(error))
  }
  // Most peers have no file: 4 MiB and 20 ms of CPU that they keep.
  const { parseYaml } = await import('./yaml.ts')
  return parseYaml({ code: 'CONFIG_INVALID', file, text, bytesMax: FILE_BYTES_MAX, schema: fileSchema })
}

/** The value of one key, for `config show`. */
export const pick = (from: object, key: Key): unknown =>
  key
    .split('.')
    .reduce<unknown>((at, step) => (at as Readonly<Record<string, unknown>> | undefined)?.[step], from)

function thisMachine(): Machine {
  return {
    root: process.getuid?.() === 0,
    hostname: hostname(),
    cpus: availableParallelism(),
    memoryMiB: Math.floor(totalmem() / 1024 ** 2),
    cwd: process.cwd(),
    diskGiB: diskOf,
  }
}

/** A host name as a DNS label: its first part, in lower case, everything else a dash. */
export function labelOf(host: string): string {
  const short = host.split('.')[0] ?? ''
  const label = short
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, NAME_LENGTH_MAX)
  return label.replaceAll(/^-+|-+$/g, '') || 'peer'
}

function configFile(flags: Flags, env: Environment, machine: Machine): string | undefined {
  const named = flags['config'] ?? env['GODWIT_CONFIG']
  if (typeof named === 'string' && named !== '') return resolve(machine.cwd, named)
  const usual = defaultConfigFile(env, machine.root)
  return existsSync(usual) ? usual : undefined
}

/** What a flag says, else what a variable says. */
function first(
  row: ConfigKey & { readonly key: Key },
  flags: Flags,
  env: Environment,
  machine: Machine,
): Outcome<{ value: unknown; origin: string } | undefined> {
  const typed = flags[row.flag]
  const said = typed ?? env[row.env]
  if (said === undefined || said === '') return ok(undefined)
  const origin = typed === undefined ? `env ${row.env}` : `flag --${row.flag}`
  const value = fromText(row.kind, said, machine)
  const checked = SCHEMAS[row.key].safeParse(value)
  if (checked.success) return ok({ value: checked.data, origin })
  const [issue] = checked.error.issues
  return failed({
    code: 'USAGE',
    why: `${origin.split(' ')[1]}: ${lowerFirst(issue?.message ?? 'is refused')}`,
  })
}

function fromText(
  kind: ConfigKey['kind'],
  said: string | readonly string[] | boolean,
  machine: Machine,
): unknown {
  if (typeof said === 'boolean') return said
  const texts = typeof said === 'string' ? [said] : said
  const words = texts.flatMap((text) => text.split(',')).map((text) => text.trim())
  const last = texts.at(-1) ?? ''
  switch (kind) {
    case 'text':
      return last
    case 'path':
      return resolve(machine.cwd, last)
    case 'list':
      return words.filter((text) => text !== '')
    case 'number':
      return /^\d{1,15}$/.test(last) ? Number(last) : last
    case 'boolean':
      return { true: true, yes: true, on: true, false: false, no: false, off: false }[last] ?? last
    case 'limits':
      return words.filter((text) => text !== '').map((rate) => ({ rate }))
    case 'labels':
      return Object.fromEntries(words.map((text) => split(text)))
    default:
      return kind satisfies never
  }
}

/** A word without `=` becomes a label that no schema takes, and is named by it. */
function split(word: string): [string, unknown] {
  const at = word.indexOf('=')
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)]
}

function complete(values: ReadonlyMap<Key, unknown>, env: Environment, machine: Machine): Config {
  const value = <T>(key: Key, otherwise: () => T): T =>
    values.has(key) ? (values.get(key) as T) : otherwise()
  const dataDir = value('dataDir', () => defaultDataDir(env, machine.root))
  const listen = value('listen', () => ['/ip4/0.0.0.0/tcp/4710'])
  return {
    dataDir,
    markDir: value('markDir', () => defaultMarkDir(env, machine.root)),
    socket: value('socket', () => join(dataDir, SOCKET_NAME)),
    name: value('name', () => labelOf(machine.hostname)),
    listen,
    announce: value('announce', () => []),
    joinListen: value('joinListen', () => listen.map((address) => higher(address, 1))),
    bulkListen: value('bulkListen', () => listen.map((address) => higher(address, 2))),
    mdns: value('mdns', () => true),
    http: { listen: value('http.listen', () => '127.0.0.1:4780') },
    capacity: {
      cpus: value('capacity.cpus', () => machine.cpus),
      memoryMiB: value('capacity.memoryMiB', () => machine.memoryMiB),
      diskGiB: value('capacity.diskGiB', () => machine.diskGiB(dataDir)),
    },
    store: {
      quota: value('store.quota', () => '80%'),
      keyFiles: value('store.keyFiles', () => []),
      level: value('store.level', () => LEVEL),
    },
    labels: value('labels', () => ({})),
    raft: {
      vote: value('raft.vote', () => true),
      uplink: value('raft.uplink', () => ''),
    },
    torrent: { listen: value('torrent.listen', () => 'off') },
    transfer: {
      limits: value('transfer.limits', () => []),
      timeZone: value('transfer.timeZone', () => ''),
    },
    driver: value('driver', () => 'auto'),
    log: { level: value('log.level', () => 'info') },
  }
}

/** Port 0, any free one, stays 0, and is what follows the last; that one is not used for peers. */
const higher = (address: string, by: number): string =>
  address.replace(/\/tcp\/(\d+)/, (_, port: string) => {
    const next = port === '0' ? 0 : Number(port) + by
    return `/tcp/${next > 65_535 ? 0 : next}`
  })

/** Of the nearest folder above that is there; 0 when nothing can be told. */
function diskOf(folder: string): number {
  for (let at = folder; ; at = dirname(at)) {
    try {
      const { bsize, blocks } = statfsSync(at)
      return Math.floor((bsize * blocks) / 1024 ** 3)
    } catch {
      if (at === dirname(at)) return 0
    }
  }
}

function isMultiaddr(text: string): boolean {
  const [, kind = '', host = '', port = ''] =
    /^\/(ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d{1,5})$/.exec(text) ?? []
  if (port === '' || Number(port) > 65_534) return false
  return kind.startsWith('dns') ? /^[A-Za-z0-9.-]+$/.test(host) : isIP(host) === Number(kind.slice(2))
}

function isKeyFile(text: string): boolean {
  return text.startsWith('/') || text === PLAIN
}

function isHttpAddress(text: string): boolean {
  if (text === 'off') return true
  const [, v6, v4, port = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? []
  return Number(port) <= 65_535 && (isIP(v6 ?? '') === 6 || isIP(v4 ?? '') === 4 || v4 === 'localhost')
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)
