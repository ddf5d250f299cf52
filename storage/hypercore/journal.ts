/**
 * The journal on hypercore: signed, hash-chained, one core for each boot in a folder of its own.
 *
 * hypercore does not fsync, so a power cut may take the end of a core away. To go on under the same key would give it a
 * second history, and whoever replicated the first would close it for good: hence a new key with every boot, derived from
 * the seed and a boot number that the store has made durable. For the same reason nothing that matters is only here.
 *
 * The package is loaded with the first batch, which waits longer than others: it costs 15 MiB, and 0.2 s of CPU for which
 * a peer that starts has better use. One that has nothing to tell never loads it.
 */
import { createPrivateKey, createPublicKey, hkdfSync } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type Hypercore from 'hypercore'
import { codec } from '../../protocols/codec.ts'
import { failureOf, describeFailure } from '../../protocols/errors.ts'
import { JOURNAL_BOOTS_KEPT, JOURNAL_QUEUE_MAX, JOURNAL_TAIL_MAX } from '../../protocols/limits.ts'
import { failed, ok, type Done, type Outcome } from '../../protocols/outcome.ts'
import { number, record, text } from '../../protocols/shape.ts'
import type { Journal, JournalEntry } from '../journal.ts'

export type HypercoreJournal = Journal & {
  /** Writes what waits, and leaves the core. Entries that come after are dropped. */
  close(): Promise<void>
}

export type Boot = {
  readonly folder: string
  /** 32 bytes that no other peer has. */
  readonly seed: Uint8Array
  /** Never used before with this seed. */
  readonly boot: number
}

const TEXT_LENGTH_MAX = 500
const NAME_LENGTH_MAX = 128
/** How long the first entry of a batch waits for others: a crash of this process loses at most these. */
const BATCH_MS = 1_000
/** The same for the first batch of a boot, unless there is this much to say. */
const FIRST_BATCH_MS = 60_000
const FIRST_BATCH_ENTRIES = 16

const entryCodec = codec(
  'journal',
  record({
    atMs: number(0, Number.MAX_SAFE_INTEGER),
    kind: text(NAME_LENGTH_MAX),
    subject: text(NAME_LENGTH_MAX, 0),
    text: text(TEXT_LENGTH_MAX, 0),
  }),
  4096,
)

/** Opens nothing yet. */
export const openJournal = (boot: Boot): HypercoreJournal => new BootJournal(boot)

class BootJournal implements HypercoreJournal {
  readonly #boot: Boot
  #waiting: JournalEntry[] = []
  /** Entries that found no room since the last batch. */
  #dropped = 0
  #timer: NodeJS.Timeout | undefined
  #timerMs = 0
  #core: Hypercore | undefined
  #used = false
  #closed = false
  /** Batches and readings, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(boot: Boot) {
    this.#boot = boot
  }

  append(entry: JournalEntry): void {
    if (this.#closed) return
    if (this.#waiting.length >= JOURNAL_QUEUE_MAX) {
      this.#waiting.shift()
      this.#dropped++
    }
    this.#waiting.push(cut(entry))
    const first = !this.#used && this.#waiting.length < FIRST_BATCH_ENTRIES
    // A disk that fails now may have room later: the next entry tries again.
    this.#flushWithin(first ? FIRST_BATCH_MS : BATCH_MS)
  }

  /** Or sooner, when that was said before. */
  #flushWithin(ms: number): void {
    if (this.#timer !== undefined && ms >= this.#timerMs) return
    clearTimeout(this.#timer)
    this.#timerMs = ms
    this.#timer = setTimeout(() => void this.#oneByOne(() => this.#flush()).catch(() => {}), ms).unref()
  }

  tail(limit: number, done: Done<JournalEntry[]>): void {
    const tell = async (): Promise<void> => done(await this.#outcomeOfTail(Math.min(limit, JOURNAL_TAIL_MAX)))
    void tell()
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#oneByOne(() => this.#flush()).catch(() => {})
    await this.#core?.close()
  }

  async #outcomeOfTail(limit: number): Promise<Outcome<JournalEntry[]>> {
    try {
      return ok(await this.#oneByOne(() => this.#tail(limit)))
    } catch (error) {
      return failed(failureOf(error))
    }
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#waiting.length === 0) return
    const core = (this.#core ??= await this.#openOwn())
    const lost: JournalEntry[] = []
    const first = this.#waiting[0] as JournalEntry
    if (this.#dropped > 0)
      lost.push({
        atMs: first.atMs,
        kind: 'journal',
        subject: '',
        text: `${this.#dropped} entries found no room and are lost`,
      })
    const batch = this.#waiting.splice(0)
    const dropped = this.#dropped
    this.#dropped = 0
    try {
      await core.append([...lost, ...batch].map((entry) => entryCodec.encode(entry)))
    } catch (error) {
      this.#waiting.unshift(...batch)
      this.#dropped += dropped
      this.#core = undefined
      await core.close().catch(() => {})
      throw error
    }
  }

  async #tail(limit: number): Promise<JournalEntry[]> {
    await this.#flush()
    const { folder, boot } = this.#boot
    let entries = this.#core === undefined ? [] : await newest(this.#core, limit)
    for (const number of (await bootsIn(folder)).reverse()) {
      if (entries.length >= limit) break
      if (number !== boot) entries = [...(await readBoot(folder, number, limit - entries.length)), ...entries]
    }
    return entries
  }

  async #openOwn(): Promise<Hypercore> {
    const { folder, seed, boot } = this.#boot
    await mkdir(folder, { recursive: true })
    const boots = await bootsIn(folder)
    if (!this.#used && boots.includes(boot)) throw new Error(`boot ${boot} has a journal already`)
    this.#used = true
    for (const old of boots.slice(0, -JOURNAL_BOOTS_KEPT + 1))
      await rm(pathOf(folder, old), { recursive: true })
    return opened(pathOf(folder, boot), keyPairOf(seed, boot))
  }

  #oneByOne<T>(run: () => Promise<T>): Promise<T> {
    const next = this.#turn.then(run)
    this.#turn = next.catch(() => {})
    return next
  }
}

const cut = ({ atMs, kind, subject, text }: JournalEntry): JournalEntry => ({
  atMs,
  kind: kind.slice(0, NAME_LENGTH_MAX),
  subject: subject.slice(0, NAME_LENGTH_MAX),
  text: text.slice(0, TEXT_LENGTH_MAX),
})

const pathOf = (folder: string, boot: number): string => join(folder, String(boot).padStart(8, '0'))

async function bootsIn(folder: string): Promise<number[]> {
  const names = await readdir(folder).catch(() => [])
  return names
    .filter((name) => /^\d{8,}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b)
}

async function opened(path: string, keyPair?: KeyPair): Promise<Hypercore> {
  const { default: Core } = await import('hypercore')
  const core = new Core(path, keyPair === undefined ? {} : { keyPair })
  await core.ready()
  return core
}

/** An older core; where it is damaged, an entry says so in its place. */
async function readBoot(folder: string, boot: number, limit: number): Promise<JournalEntry[]> {
  let core: Hypercore | undefined
  try {
    core = await opened(pathOf(folder, boot))
    return await newest(core, limit)
  } catch (error) {
    const text = `the journal of boot ${boot} cannot be read: ${describeFailure(failureOf(error))}`
    return [cut({ atMs: 0, kind: 'journal', subject: `boot ${boot}`, text })]
  } finally {
    await core?.close().catch(() => {})
  }
}

async function newest(core: Hypercore, limit: number): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = []
  for (let index = Math.max(0, core.length - limit); index < core.length; index++)
    entries.push(entryCodec.decode(await core.get(index)))
  return entries
}

type KeyPair = { publicKey: Buffer; secretKey: Buffer }

/** Ed25519 in libsodium's form: the secret key is the seed followed by the public key. */
function keyPairOf(seed: Uint8Array, boot: number): KeyPair {
  const own = Buffer.from(hkdfSync('sha256', seed, '', `godwit journal, boot ${boot}`, 32))
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, own]), format: 'der', type: 'pkcs8' })
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32)
  return { publicKey, secretKey: Buffer.concat([own, publicKey]) }
}

/** What PKCS #8 puts before the 32 bytes of an Ed25519 private key (RFC 8410). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex')
