/** What a command of the CLI is: data that parsing, help, completion and docs are made from, and what it does. */
import type { Noun } from '../control/names-file.ts'
import type { Method } from '../operations.ts'
import type { Session } from './session.ts'

export type Words = Readonly<Record<string, string | undefined>>
export type Values = Readonly<Record<string, string | boolean | readonly string[] | undefined>>

export type ArgumentRow = {
  /** As in the synopsis, without brackets. */
  readonly name: string
  readonly summary: string
  readonly optional?: boolean
  readonly complete?: Noun | 'target' | 'path' | readonly string[]
}

export type OptionRow = {
  /** As commander reads them: `-n, --lines <count>`. */
  readonly flags: string
  readonly summary: string
  readonly choices?: readonly string[]
  readonly otherwise?: string
  /** May be given more than once. */
  readonly repeat?: boolean
  readonly complete?: Noun | 'target' | 'path'
}

export type Command = {
  readonly name: string
  readonly aliases?: readonly string[]
  readonly summary: string
  /** What the summary leaves out; a sentence or three. */
  readonly about?: string
  readonly arguments?: readonly ArgumentRow[]
  readonly options?: readonly OptionRow[]
  /** Command lines without the leading `godwit`, each with what it does. */
  readonly examples: readonly (readonly [line: string, does: string])[]
  /** Prints a list: brings columns, sorting, filters, pages and --watch. */
  readonly lists?: boolean
  /** How long it waits when --timeout is not given; absent for what ends by itself at once. */
  readonly timeout?: string
} & (
  | {
      /** One question to the peer whose answer is printed as it is. */
      readonly method: Method
      readonly params?: (words: Words, values: Values) => object
    }
  | { readonly run: (session: Session) => Promise<number> }
)

/** All that a command may touch of the world; main.ts gives the process's own. */
export type Io = {
  out(text: string): void
  err(text: string): void
  /** Everything on standard input, at most `bytesMax`; undefined when there is more. */
  readAll(bytesMax: number): Promise<string | undefined>
  /** One line that a person types. */
  readLine(): Promise<string>
  readonly stdinTty: boolean
  readonly stdoutTty: boolean
  readonly stderrTty: boolean
  readonly columns: number
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  nowMs(): number
  sleep(ms: number): Promise<void>
  /** Calls `run` at each Ctrl-C from now on, until what it returns is called. */
  onInterrupt(run: () => void): () => void
  /** Ends with the name of the signal that asks this process to stop. */
  stopped(): Promise<string>
}

/** On every command. */
export const GLOBAL_OPTIONS: readonly OptionRow[] = [
  {
    flags: '-o, --output <format>',
    summary:
      'table, wide, json, jsonl, yaml, csv or name; `table,noheader` and `csv,noheader` leave the titles out',
    otherwise: 'table',
  },
  { flags: '--json', summary: 'the same as -o json; --json=1 names the schema' },
  { flags: '--timeout <duration>', summary: 'wait at most this long: 500ms, 10s, 30m, 2h' },
  { flags: '-q, --quiet', summary: 'no progress, hints or warnings on stderr' },
  { flags: '-v, --verbose', summary: 'say on stderr whom is asked, and how long it took' },
  { flags: '--debug', summary: 'show where a bug was hit' },
  { flags: '--no-color', summary: 'no colour, also when NO_COLOR is not set' },
  { flags: '--config <file>', summary: 'configuration file (GODWIT_CONFIG)', complete: 'path' },
  { flags: '--data-dir <folder>', summary: 'data folder (GODWIT_DATA_DIR)', complete: 'path' },
  { flags: '--socket <path>', summary: 'control socket of the peer (GODWIT_SOCKET)', complete: 'path' },
]

/** On every command that lists. */
export const LIST_OPTIONS: readonly OptionRow[] = [
  { flags: '-c, --columns <names>', summary: 'columns to show, in this order, separated by commas' },
  { flags: '--sort-by <column>', summary: 'sort by a column or field; -name turns it round' },
  {
    flags: '--filter <key=value>',
    summary: 'only what has this value; key!=value for all others, key=a,b for either',
    repeat: true,
  },
  { flags: '-l, --label <label=value>', summary: 'only what carries this label', repeat: true },
  { flags: '--limit <count>', summary: 'at most so many' },
  { flags: '--page-token <token>', summary: 'go on where a limited list ended' },
  { flags: '-w, --watch', summary: 'go on showing changes until Ctrl-C' },
]

export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [0, 'done'],
  [1, 'failed'],
  [2, 'usage: what was typed or written cannot be used'],
  [3, 'denied'],
  [4, 'no quorum, or a precondition does not hold'],
  [5, 'timeout; a job goes on'],
  [6, 'no peer answers on the control socket'],
  [7, 'partial: some of what was asked for is not there; the answer says what'],
  [8, 'not found'],
  [130, 'interrupted'],
]
