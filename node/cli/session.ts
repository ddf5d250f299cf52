/** One run of one command: what was typed, the peer it talks to, and the two streams it writes to. */
import { GodwitError, RULES } from '../../protocols/errors.ts'
import type { Flags } from '../config-keys.ts'
import type { Answered, ControlClient } from '../control/client.ts'
import { envelope, errorEnvelope } from '../control/envelope.ts'
import { VERSION } from '../version.ts'
import type { Io, Values, Words } from './command.ts'
import { Refused, usage } from './failures.ts'
import { type Output, parseFormat, formatNames, render } from './formats.ts'
import { parseDuration } from './human.ts'
import { locate } from './locate.ts'
import { type Selection, select } from './select.ts'
import { VIEWS } from './columns/columns.ts'

/** setTimeout takes no more; longer than any job is waited for. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1

export class Session {
  readonly io: Io
  readonly words: Words
  readonly values: Values
  /** As typed, under the flags' own names: what config.ts reads. */
  readonly flags: Flags
  readonly output: Output
  readonly timeoutMs: number
  #client: ControlClient | undefined
  #warned = false

  constructor(io: Io, words: Words, values: Values, flags: Flags, timeout: string) {
    this.io = io
    this.words = words
    this.values = values
    this.flags = flags
    this.output = outputOf(io, values)
    this.timeoutMs = durationOf('--timeout', this.text('timeout') ?? timeout)
  }

  /** Name of the peer that answers; empty before it has. */
  get peer(): string {
    return this.#client?.hello.peer ?? ''
  }

  text(name: string): string | undefined {
    const value = this.values[name]
    return typeof value === 'string' ? value : undefined
  }

  word(name: string): string {
    return this.words[name] ?? usage(`${name} is missing`)
  }

  has(name: string): boolean {
    return this.values[name] === true
  }

  /** @throws GodwitError the peer's failure, TIMEOUT, or DAEMON_UNREACHABLE. */
  async ask(method: string, params: object, timeoutMs = this.timeoutMs): Promise<Answered> {
    const begun = this.io.nowMs()
    this.#client ??= await this.#connect()
    const outcome = await this.#client.ask(method, params, timeoutMs)
    if (this.has('verbose')) this.note(`${method}: ${this.peer} answered in ${this.io.nowMs() - begun} ms`)
    if (outcome.ok) return outcome.value
    if (outcome.failure.code === 'DAEMON_UNREACHABLE') this.close()
    if (!Object.hasOwn(RULES, outcome.failure.code))
      throw new Refused(errorEnvelope(outcome.failure, this.peer))
    throw new GodwitError(outcome.failure)
  }

  /** Prints an answer: data on stdout, what to mind on stderr. */
  async show(kind: string, { asOf, value }: Answered, output: Output = this.output): Promise<void> {
    const whole = envelope(kind, value, asOf)
    let shown = whole
    if (whole.items !== undefined) {
      const page = select(whole.items, VIEWS[kind] ?? { columns: [], name: String }, this.selection())
      shown = {
        ...envelope(kind, page.items, asOf),
        ...(page.nextPageToken && { nextPageToken: page.nextPageToken }),
      }
      if (page.nextPageToken !== undefined) this.note(`there is more: --page-token ${page.nextPageToken}`)
      if (page.items.length === 0 && output.format === 'table') this.note('none')
    }
    this.io.out(await render(shown, { ...output, nowMs: this.io.nowMs() }))
    for (const warning of shown.warnings) this.note(`warning: ${warning}`)
  }

  /** One thing that no peer was asked for. */
  showItem(kind: string, value: unknown): Promise<void> {
    return this.show(kind, { value, asOf: new Date(this.io.nowMs()).toISOString() })
  }

  /** For people, on stderr. */
  note(text: string): void {
    if (!this.has('quiet')) this.io.err(`${text}\n`)
  }

  close(): void {
    this.#client?.close()
    this.#client = undefined
  }

  async #connect(): Promise<ControlClient> {
    const { connectControl, must } = await import('../control/client.ts')
    const { socket } = await locate(this.flags, this.io)
    const client = must(await connectControl(socket, VERSION))
    const { version } = client.hello
    if (version !== VERSION && !this.#warned) {
      this.#warned = true
      this.note(`warning: the peer runs godwit ${version}, this is ${VERSION}`)
    }
    return client
  }

  /** What of a list was asked for. */
  selection(): Selection {
    const limit = this.text('limit')
    if (limit !== undefined && !/^[1-9]\d{0,8}$/.test(limit))
      usage(`--limit ${limit}: write a number from 1 on`)
    return {
      filters: this.list('filter'),
      labels: this.list('label'),
      sortBy: this.text('sortBy'),
      limit: limit === undefined ? undefined : Number(limit),
      pageToken: this.text('pageToken'),
    }
  }

  /** Values of an option that may be given more than once. */
  list(name: string): readonly string[] {
    const value = this.values[name]
    return Array.isArray(value) ? (value as readonly string[]) : []
  }
}

function outputOf(io: Io, values: Values): Output {
  const text = typeof values['output'] === 'string' ? values['output'] : 'table'
  const parsed =
    parseFormat(values['json'] === true ? 'json' : text) ?? usage(`-o ${text}: there are ${formatNames}`)
  const columns = typeof values['columns'] === 'string' ? values['columns'] : undefined
  const dull = values['color'] === false || (io.env['NO_COLOR'] ?? '') !== '' || io.env['TERM'] === 'dumb'
  return { ...parsed, columns, colour: io.stdoutTty && !dull, nowMs: io.nowMs() }
}

export function durationOf(flag: string, text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined || ms < 1) return usage(`${flag} ${text}: write a duration: 500ms, 10s, 30m, 2h`)
  return Math.min(ms, TIMEOUT_MS_MAX)
}
